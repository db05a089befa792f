"""What an ablation of its size can and cannot show, and what to know before it is believed."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.quantities import count, magnitude, share
from pipelines.report.axis import written
from trainer.evidence.verdict import more_tokens

Result = Mapping[str, Any]

#: Below this many parameters benchmarks do not rank data (arXiv:2602.12237: Spearman .73 at 1 M, above .89 from 15 M on).
_BENCHMARKS = 15e6
#: Compute below which a run tries the machinery out and says little of data.
_SMOKE = 1e15
#: Tokens a parameter of compute-optimal training (arXiv:2203.15556), and epochs up to which repeats are nearly fresh
#: (arXiv:2305.16264).
_OPTIMAL, _FRESH = 20, 4
#: Percent of the tokens from which a difference is told in times.
_GROSS = 100
_SEEDS, _BUDGETS, _DOMAINS = 3, 3, 3


def warnings(result: Result) -> list[str]:
    """What is wrong or unusual with this one: read it before the verdict."""
    sentences = [*_runs(result), *_rate(result), *_control(result), *_text(result), *_overlap(result)]
    if result.get("stopped"):
        sentences.append(f"Stopped early: {result['stopped']}.".replace("..", "."))
    return sentences


def _runs(result: Result) -> list[str]:
    diverged = [e for e in result["endpoints"] if e["diverged"] is not None]
    found = []
    if diverged:
        first = diverged[0]
        found.append(
            f"{_plural(len(diverged), 'run')} diverged and {'is' if len(diverged) == 1 else 'are'} left out: "
            f"{first['arm']}, seed {first['seed']}, {magnitude(first['budget'])} tokens"
            f"{' and others' if len(diverged) > 1 else ''} ({first['diverged']})."
        )
    here = {(e["arm"], e["seed"], e["budget"]) for e in result["endpoints"]}
    budgets = sorted({e["budget"] for e in result["endpoints"]})
    wanted = {(a["name"], s, b) for a in result["arms"] for s in result["settings"]["seeds"] for b in budgets}
    if wanted - here:
        found.append(f"{_plural(len(wanted - here), 'run')} of {count(len(wanted))} missing, so pairs are fewer.")
    return found


def _rate(result: Result) -> list[str]:
    tried = result["learning_rates"]
    given = (
        "The learning rate was given and not bracketed: a difference between arms may be one of how well it suits them."
    )
    if tried is None:
        return [given]
    edge = (
        f"The learning rate {tried['chosen']:.3g} is the edge of those tried, so a better one may lie beyond and differences "
        "between arms may be of the learning rate."
    )
    return [edge] if tried["edge"] else []


def _control(result: Result) -> list[str]:
    """Arms that beat the baseline, but not documents drawn at random: what they gain need not come from what was chosen."""
    evidence = result["evidence"]
    unproved = [
        arm["name"]
        for arm in evidence["arms"]
        if arm["decided"] == "better" and arm["versus_control"] and arm["versus_control"]["decided"] != "better"
    ]
    if not unproved:
        return []
    said = f"better than {evidence['baseline']}, but not shown to be better than {evidence['control']}"
    return [f"{', '.join(unproved)}: {said}, as many tokens drawn at random, which a filter must beat."]


def _text(result: Result) -> list[str]:
    rewriting = [arm["name"] for arm in result["arms"] if arm["rewrites_text"]]
    found = []
    if rewriting:
        found.append(f"{', '.join(rewriting)}: not only other documents but other text, tokenized on its own.")
    worn = [arm["name"] for arm in result["arms"] if max(arm["epochs"], default=0) > _FRESH]
    if worn:
        found.append(
            f"{', '.join(worn)}: more than {_FRESH} epochs of its text, of which repeats teach less than fresh text."
        )
    return found


def _overlap(result: Result) -> list[str]:
    hit = [
        f"{arm['name']} {share(c['panel_documents_hit'], c['panel_documents'])}"
        for arm in result["arms"]
        for c in [arm["contamination"]]
        if c["panel_documents_hit"]
    ]
    return (
        [f"Arms share text with documents of the panel: {', '.join(hit)}. See the result without them."] if hit else []
    )


def can(result: Result) -> list[str]:
    """What a run of this size can show."""
    noise = result["evidence"]["noise"]
    least = noise["detectable_percent_tokens"]
    seeds = len(result["settings"]["seeds"])
    found = []
    odds = f"which {_plural(seeds, 'seed')} would find nine times out of ten under the noise that was measured"
    if least is not None:
        what = "Gross differences alone: data worth" if least > _GROSS else "Data worth"
        found.append(f"{what} {more_tokens(least)} or better, {odds}.")
    found.append("Which arm teaches a model of this size more about text like that of the panel, token for token.")
    if result["evidence"]["attribution"] is not None or result.get("stages") is not None:
        found.append("Which steps of the pipeline carry the difference, each against the same pipeline without it.")
    return found


def cannot(result: Result) -> list[str]:
    """What a run of this size cannot show, however clear its result."""
    settings = result["settings"]
    parameters, largest = settings["parameters"]["total"], max(settings["budgets"])
    flops = max((e["flops"] or 0 for e in result["endpoints"]), default=0)
    found = []
    if flops < _SMOKE:
        found.append(
            f"Claims about data at large: {written(float(f'{flops:.2g}'))} FLOPs a run try the pipeline out. What helps here can be what helps any "
            "model that has seen next to nothing, such as cleaner or plainer text."
        )
    if parameters < _BENCHMARKS:
        found.append(
            f"Benchmarks: models of {magnitude(parameters)} parameters do not rank data by them as large ones do "
            "(arXiv:2602.12237); losses are all there is."
        )
    found.append(
        "Larger models and more compute: even runs of 150 M parameters predict about four of five comparisons at a billion "
        "(arXiv:2504.11393), and with enough compute unfiltered text can overtake filtered (arXiv:2605.19407)."
    )
    per_parameter = largest / parameters
    if per_parameter < _OPTIMAL:
        found.append(
            f"The end of training: {per_parameter:.2g} tokens a parameter, where about {_OPTIMAL} are compute-optimal "
            "(arXiv:2203.15556)."
        )
    found += _design(result)
    return found


def _design(result: Result) -> list[str]:
    settings = result["settings"]
    seeds, budgets, domains = len(settings["seeds"]), len(settings["budgets"]), len(settings["panel"])
    found = []
    if result["learning_rates"] is not None:
        found.append(
            "What each arm would do under a learning rate of its own: it was bracketed on the baseline alone, and all share it."
        )
    if seeds < _SEEDS:
        noise = "no noise of seeds is measured at all" if seeds == 1 else "the noise of seeds is hardly measured"
        found.append(f"Small differences: with {_plural(seeds, 'seed')} {noise}.")
    if budgets < _BUDGETS:
        found.append(f"How the multiplier goes on: that takes three budgets, and this had {budgets}.")
    if max((max(arm["epochs"], default=0) for arm in result["arms"]), default=0) <= 1:
        found.append("What happens when a smaller curated pool runs out: no arm saw a document twice.")
    if domains < _DOMAINS:
        found.append(f"Other kinds of text: the panel has {_plural(domains, 'domain')}.")
    return found


def _plural(number: int, what: str) -> str:
    return f"{count(number)} {what}{'' if number == 1 else 's'}"


def sentences(result: Result) -> dict[str, Sequence[str]]:
    """All of them, as the JSON of a report has them."""
    return {"warnings": warnings(result), "can": can(result), "cannot": cannot(result)}
