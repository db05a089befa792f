"""What an ablation proved: the verdict, a line for each arm, what the run could see at all, where the report is."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from pipelines.quantities import count
from pipelines.report.ablation_limits import cannot, warnings
from pipelines.terminal.parts import KEPT, REJECTED, SOFT, plain, table

_STYLES = {"better": KEPT, "worse": REJECTED}


def show_ablation(page: Console, done: Mapping[str, Any], store: str) -> None:
    """The screen."""
    evidence = done["evidence"]
    page.print(Text.assemble(plain(done["ablation"], "bold"), "  ", plain(f"baseline {done['baseline']}", SOFT)))
    page.print(plain(evidence["verdict"]), soft_wrap=True)
    page.print(_arms(done))
    for arm in evidence["arms"]:
        page.print(plain(f"{arm['name']}: {arm['sentence']}", _STYLES.get(arm["decided"] or "", SOFT)), soft_wrap=True)
    if evidence["attribution"] is not None:
        page.print(plain(evidence["attribution"]["sentence"]), soft_wrap=True)
    page.print(plain(evidence["noise"]["sentence"], SOFT), soft_wrap=True)
    for sentence in warnings(done):
        page.print(plain(sentence, REJECTED), soft_wrap=True)
    for sentence in cannot(done)[:1]:
        page.print(plain(f"what such a run cannot show: {sentence}", SOFT), soft_wrap=True)
    page.print(plain(f"{store.rstrip('/')}/ablations/{done['ablation']}/report.html", SOFT), soft_wrap=True)


def _arms(done: Mapping[str, Any]) -> Any:
    """Bits per byte by arm and budget (means of the seeds), with the tokens saved."""
    budgets = done["evidence"]["budgets"]
    shown = table("arm", ">documents", ">tokens", *(f">{count(b)}" for b in budgets), ">multiplier")
    proofs = {arm["name"]: arm for arm in done["evidence"]["arms"]}
    for arm in done["arms"]:
        means = [_mean(done["endpoints"], arm["name"], b) for b in budgets]
        proof = proofs.get(arm["name"])
        told = "1 (baseline)" if proof is None else _multiplier(proof["multiplier"])
        shown.add_row(arm["name"], count(arm["documents"]), count(arm["tokens"]), *means, told)
    return shown


def _mean(endpoints: Sequence[Mapping[str, Any]], arm: str, budget: int) -> str:
    own = [e["bits_per_byte"] for e in endpoints if e["arm"] == arm and e["budget"] == budget]
    known = [loss for loss in own if loss is not None]
    return f"{sum(known) / len(known):.4f}" if known else "–"


def _multiplier(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return "unknown"
    low, high = (("…" if found[side] is None else f"{found[side]:.2f}") for side in ("low", "high"))
    return f"{found['value']:.2f} [{low}, {high}]"
