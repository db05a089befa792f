"""What a learner has fitted, as numbers (`collect`) and as one page (`render`): how good, what it likes and hates."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from pipelines import quantities
from pipelines.report import learned_card
from pipelines.report.curve_figure import class_of, curve_figure, legend
from pipelines.report.groups import groups
from pipelines.report.learned_card import Shown
from pipelines.report.page import TEMPLATES, environment, policy
from pipelines.report.whisker import whisker
from pipelines.store import Store
from stages.artifacts import PREFIX, find, newest_key
from stages.catalog import catalog

FORMAT = 1
#: The stage that reads an artifact of a kind, and its field.
READERS = {
    "ngram": ("perplexity", "model"),
    "quality": ("quality", "model"),
    "importance": ("importance", "model"),
    "frequencies": ("difficulty", "frequencies"),
    "tokenizer": ("tokens", "tokenizer"),
}
#: Documents of one side that are shown, and characters of each.
SHOWN, CHARACTERS = 20, 1000
#: Points of a curve in its table.
POINTS = 60


def collect(store: Store, reference: str) -> dict[str, Any]:
    """An artifact as data: its id, kind, identity and files, whether it is its name's newest version, and its card as it is.

    `reference` is `artifact:NAME` or `artifact:NAME-KEY`.

    Raises:
        SpecError: the store has no such artifact.
        StorageError: its record is damaged.
    """
    found = find(store, reference)
    newest = newest_key(store, found.name)
    return {
        "format": FORMAT,
        "artifact": found.id,
        "name": found.name,
        "key": found.key,
        "kind": found.kind,
        "newest": None if newest is None else f"{found.name}-{newest}",
        "identity": dict(found.identity),
        "files": {role: {"bytes": f["bytes"], "sha256": f["sha256"]} for role, f in found.files.items()},
        "use": use(found.kind, found.id),
        "card": dict(found.card),
    }


def use(kind: str, artifact: str) -> dict[str, Any]:
    """What a spec says to read it: a whole step where the stage is known, else the one field."""
    stage, field = READERS.get(kind, ("", "model"))
    reference = f"{PREFIX}{artifact}"
    known = catalog().get(stage)
    if known is None or field not in known.model_fields:
        return {field: reference}
    seed = {"seed": 0} if "seed" in known.model_fields else {}
    return {"measure": {stage: {"kind": stage, field: reference, **seed}}}


def render(report: dict[str, Any]) -> str:
    """The page of an artifact: self-contained, without a script."""
    style = "".join((TEMPLATES / name).read_text("utf-8") for name in ("report.css", "learned.css"))
    card = learned_card.read(report["card"])
    return (
        environment()
        .get_template("learned.html.j2")
        .render(
            report=report,
            card=card,
            style=Markup(style),  # noqa: S704 - our own file
            policy=policy(style),
            ends=[("likes", "What it likes", card["likes"]), ("hates", "What it hates", card["hates"])],
            direction=direction(card["likes"], card["hates"]),
            limits={"shown": SHOWN, "characters": CHARACTERS, "points": POINTS},
            groups=groups,
            whisker=whisker,
            score=score,
            curve_figure=curve_figure,
            legend=legend,
            class_of=class_of,
        )
    )


def direction(likes: Sequence[Shown], hates: Sequence[Shown]) -> str:
    """Which scores are liked, in words; empty where the scores do not tell."""
    up, down = ([one.score for one in side if one.score is not None] for side in (likes, hates))
    if not up or not down or (min(up) == max(up) == min(down) == max(down)):
        return ""
    if min(up) >= max(down):
        return "A high score is liked."
    return "A low score is liked." if max(up) <= min(down) else ""


def score(number: float | None) -> str:
    """A score; one that is nearly 1, as of a probability, is not called 1."""
    shown = quantities.value(number)
    return ">0.9999" if shown == "1" and number is not None and number < 1 else shown
