"""Rows of an ablation's tables, from its result."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.report.ablation_curves import arms_of
from pipelines.report.scale import Estimate, Scale

Result = Mapping[str, Any]
Row = dict[str, Any]

#: Classes of what was decided.
STATES = {"better": "gain", "worse": "loss", "helps": "gain", "hurts": "loss", None: "level"}

_DRAWN = {"multiplier": "token multiplier", "loss": "difference in bits per byte"}


def estimate(found: Mapping[str, Any] | None) -> Estimate:
    """An interval's three numbers, unknown where there is none."""
    keys = ("value", "low", "high")
    return dict.fromkeys(keys) if found is None else {key: found.get(key) for key in keys}


def comparisons(result: Result) -> dict[str, Any]:
    """Every arm against the baseline, on one axis: the multiplier, without and with the cost of curation.

    `of` is what is drawn: `multiplier`, or `loss`, the difference at the largest budget, where no arm has a multiplier.
    """
    arms = result["evidence"]["arms"]
    plain = [estimate(arm["multiplier"]) for arm in arms]
    charged = [estimate(arm["multiplier"]["with_curation"]) for arm in arms]
    losses = [estimate(arm["deltas"][-1] if arm["deltas"] else None) for arm in arms]
    of = "multiplier" if any(e["value"] is not None for e in plain) else "loss"
    drawn = plain if of == "multiplier" else losses
    neutral = float(of == "multiplier")
    scale = Scale.of([*drawn, *(charged if of == "multiplier" else [])], neutral, logarithmic=of == "multiplier")
    rows = []
    for arm, own, with_cost, loss, shown in zip(arms, plain, charged, losses, drawn, strict=True):
        state = STATES[arm["decided"]]
        rows.append(
            {
                "arm": arm,
                "state": state,
                "multiplier": own,
                "charged": with_cost,
                "loss": loss,
                "mark": scale.mark(shown, f"{arm['name']}, {_DRAWN[of]}", state=state),
                "charged_mark": scale.mark(with_cost, f"{arm['name']}, with curation", state=f"{state} hollow"),
            }
        )
    any_charged = any(e["value"] is not None for e in charged)
    return {"rows": rows, "ruler": scale.ruler(), "any_charged": any_charged, "of": of}


def attribution(result: Result) -> dict[str, Any] | None:
    """What the pipeline loses without each of its steps, as bars with whiskers on one axis; null where none was left out."""
    found = result["evidence"]["attribution"]
    if found is None:
        return None
    deltas = [estimate(step["delta"]) for step in found["steps"]]
    scale = Scale.of(deltas, 0.0, logarithmic=False)
    rows = [
        {
            "step": step,
            "state": STATES[step["decided"]],
            "delta": delta,
            "multiplier": estimate(step["multiplier"]),
            "mark": scale.mark(delta, f"without {step['step']}", state=STATES[step["decided"]], bar=True),
        }
        for step, delta in zip(found["steps"], deltas, strict=True)
    ]
    return {"whole": found["whole"], "sentence": found["sentence"], "rows": rows, "ruler": scale.ruler()}


def stages(result: Result) -> dict[str, Any] | None:
    """What each stage adds to the whole pipeline (Shapley values), as bars on one axis; null where too few were trained."""
    found = result.get("stages")
    if found is None:
        return None
    every = [*found["steps"], {"step": "all of them", **found["total"]}]
    scale = Scale.of([estimate(one) for one in every], 0.0, logarithmic=False)
    rows = []
    for one in every:
        own = estimate(one)
        state = {"gain": "loss", "loss": "gain"}.get(_apart(own), "level")  # a gain above 0 is a loss below it
        mark = scale.mark(own, f"{one['step']} adds", state=state, bar=True)
        rows.append({"step": one["step"], "gain": own, "state": state, "mark": mark})
    return {**found, "rows": rows, "ruler": scale.ruler()}


def on_terms(result: Result) -> list[Row]:
    """For each arm its difference in loss where tokens, raw documents or total compute are equal; none where only tokens are known."""
    return [
        {"name": arm["name"], "terms": arm["estimands"]}
        for arm in result["evidence"]["arms"]
        if any(term["delta"]["value"] is not None for term in arm["estimands"] if term["equal"] != "tokens")
    ]


def domains(result: Result) -> dict[str, Any]:
    """For each domain of the panel the baseline's loss at the largest budget and every arm's difference from it, on one axis."""
    deltas = [d["delta"] for arm in result["evidence"]["arms"] for d in arm["domains"]]
    scale = Scale.of([estimate(delta) for delta in deltas], 0.0, logarithmic=False)
    largest = max((e["budget"] for e in result["endpoints"]), default=None)
    rows = []
    for part in result["settings"]["panel"]:
        name = part["domain"]
        known = [
            e["domains"].get(name)
            for e in result["endpoints"]
            if e["arm"] == result["baseline"] and e["budget"] == largest
        ]
        losses = [x for x in known if x is not None]
        arms = [_in_domain(arm, name, scale) for arm in result["evidence"]["arms"]]
        mean = sum(losses) / len(losses) if losses else None
        rows.append({**part, "baseline": mean, "arms": [one for one in arms if one is not None]})
    return {"rows": rows, "ruler": scale.ruler()}


def _in_domain(arm: Mapping[str, Any], domain: str, scale: Scale) -> Row | None:
    """An arm's difference from the baseline in one domain; None where it has none."""
    found = next((d for d in arm["domains"] if d["name"] == domain), None)
    if found is None:
        return None
    delta, state = estimate(found["delta"]), _apart(estimate(found["delta"]))
    mark = scale.mark(delta, f"{arm['name']}, {domain}, {_DRAWN['loss']}", state=state)
    times = estimate(found["multiplier"])
    return {**found, "arm": arm["name"], "delta": delta, "multiplier": times, "state": state, "mark": mark}


def _apart(delta: Estimate) -> str:
    """Whether an interval of a difference of losses excludes 0, as a class."""
    low, high = delta["low"], delta["high"]
    if high is not None and high < 0:
        return "gain"
    return "loss" if low is not None and low > 0 else "level"


def probes(result: Result) -> list[Row]:
    """For each probe and arm the means over seeds at the largest budget."""
    largest = max((e["budget"] for e in result["endpoints"]), default=None)
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for endpoint in result["endpoints"]:
        if endpoint["budget"] == largest:
            for name, answers in endpoint.get("probes", {}).items():
                found.setdefault((name, endpoint["arm"]), []).append(answers)
    rows = []
    for (name, arm), every in sorted(found.items()):
        means = {
            k: sum(a[k] for a in every) / len(every) for k in ("bits_per_byte", "normalized_correct_prob", "accuracy")
        }
        rows.append({"probe": name, "arm": arm, "items": every[0]["items"], "chance": every[0]["chance"], **means})
    return rows


def contamination(result: Result) -> list[Row]:
    """For each arm the documents that share text with the panel, and the result with and without those of the panel."""
    whole = {arm["name"]: arm for arm in result["evidence"]["arms"]}
    clean = {arm["name"]: arm for arm in (result["evidence_clean"] or {"arms": []})["arms"]}
    rows = []
    for name in arms_of(result):
        arm = next(arm for arm in result["arms"] if arm["name"] == name)
        both = [estimate(side[name]["multiplier"]) if name in side else None for side in (whole, clean)]
        rows.append({"arm": arm, "found": arm["contamination"], "with": both[0], "without": both[1]})
    return rows


def cost(result: Result) -> list[Row]:
    """Processor seconds of each arm: of its curation, charged whether cached or not, and of all its training runs.

    The trunk that budgets of one seed share is counted once; FLOPs are of each run by itself.
    """
    rows = []
    for name in arms_of(result):
        arm = next(arm for arm in result["arms"] if arm["name"] == name)
        own = [e for e in result["endpoints"] if e["arm"] == name]
        training = _spent(own)
        selection = arm.get("selection_cpu_seconds")
        rows.append(
            {
                "arm": name,
                "curation_cpu_seconds": arm["curation_cpu_seconds"],
                "selection_cpu_seconds": selection,
                "training_cpu_seconds": training,
                "total_cpu_seconds": (arm["curation_cpu_seconds"] or 0.0) + (selection or 0.0) + training,
                "flops": sum(e["flops"] or 0.0 for e in own),
                "runs": len(own),
            }
        )
    return rows


def _spent(runs: Sequence[Mapping[str, Any]]) -> float:
    """Processor seconds of runs: of each what it has not of a trunk, and for each seed the longest part of its trunk."""
    own, trunks = 0.0, dict[int, float]()
    for run in runs:
        inherited = run.get("inherited_cpu_seconds") or 0.0
        own += (run["cpu_seconds"] or 0.0) - inherited
        trunks[run["seed"]] = max(trunks.get(run["seed"], 0.0), inherited)
    return own + sum(trunks.values())


def endpoints(result: Result) -> list[Row]:
    """Every run, by arm, budget and seed."""
    order = {name: place for place, name in enumerate(arms_of(result))}
    return sorted(result["endpoints"], key=lambda e: (order[e["arm"]], e["budget"], e["seed"]))


def panel(result: Result) -> Sequence[Mapping[str, Any]]:
    """The domains of the panel, the largest first."""
    return sorted(result["settings"]["panel"], key=lambda part: (-part["bytes"], part["domain"]))


def settings(result: Result) -> dict[str, Any]:
    """Model, training and everything else that was set, as lists."""
    own = result["settings"]
    rest = {k: v for k, v in own.items() if k not in {"model", "parameters", "training", "panel"}}
    return {"model": {**own["model"], "parameters": own["parameters"]}, "training": own["training"], "design": rest}
