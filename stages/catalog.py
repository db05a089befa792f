"""Every stage there is: a walk over the stage folders and the entry points of other distributions.

No decorators and no metaclass: a stage is found because its file is there.
"""

import difflib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from pydantic import ValidationError

from stages.base import CorpusStage, RowStage, Sink, Stage
from stages.errors import SpecError
from stages.sources.base import Source

FOLDERS: Mapping[str, type[Stage]] = {
    "stages.sources": Source,
    "stages.text": RowStage,
    "stages.corpus": CorpusStage,
    "stages.sinks": Sink,
}
ENTRY_POINTS = "tamis.stages"
#: How many known words a message lists at most.
LISTED = 12


@functools.cache
def catalog() -> Mapping[str, type[Stage]]:
    """Stage classes by kind; sources and sinks under `source:KIND` and `sink:KIND`.

    Raises:
        SpecError: a stage of another distribution reuses a kind or is not a stage.

    """
    found: dict[str, type[Stage]] = {}
    for package, base in FOLDERS.items():
        folder = importlib.import_module(package)
        for module in pkgutil.iter_modules(folder.__path__):
            for cls in _stages_in(f"{package}.{module.name}", base):
                found[_name(cls)] = cls
    for point in entry_points(group=ENTRY_POINTS):
        cls = point.load()
        if not (inspect.isclass(cls) and issubclass(cls, (RowStage, CorpusStage, Source, Sink))):
            message = (
                f"the entry point {point.value!r} in {ENTRY_POINTS} is not a stage; remove the distribution or fix it"
            )
            raise SpecError(message, entry_point=point.value)
        if _name(cls) in found:
            message = f"the entry point {point.value!r} reuses the kind {_name(cls)!r}; rename its kind"
            raise SpecError(message, entry_point=point.value)
        found[_name(cls)] = cls
    return dict(sorted(found.items()))


def kind_of(cls: type[Stage]) -> str:
    """The value of the class's `kind` field."""
    return str(cls.model_fields["kind"].default)


def row_stages() -> dict[str, type[RowStage]]:
    """Row stages by kind."""
    return {k: c for k, c in catalog().items() if issubclass(c, RowStage)}


def corpus_stages() -> dict[str, type[CorpusStage]]:
    """Corpus stages by kind."""
    return {k: c for k, c in catalog().items() if issubclass(c, CorpusStage)}


def parse(fields: Mapping[str, Any], role: str, where: str, beside: Sequence[str] = ()) -> Stage:
    """The stage that `fields` describe; `role` is `step`, `source` or `sink`; `where` names the place in the spec.

    `beside` are names that stand in the same place and are not the stage's: suggestions know them.

    Raises:
        SpecError: an unknown kind or field, or a value that the stage refuses; with a suggestion where one is near.

    """
    prefix = "" if role == "step" else f"{role}:"
    roles = ("source:", "sink:")
    kinds = [k.removeprefix(prefix) for k in catalog() if (k.startswith(prefix) if prefix else not k.startswith(roles))]
    kind = fields.get("kind")
    if kind not in kinds:
        message = f"{where} has the unknown kind {kind!r}{did_you_mean(str(kind), kinds)}"
        raise SpecError(message, where=where, kind=kind)
    cls = catalog()[prefix + str(kind)]
    try:
        return cls.model_validate(dict(fields))
    except ValidationError as error:
        raise SpecError(explain(error, cls, where, beside), where=where) from error


def explain(error: ValidationError, cls: type, where: str, beside: Sequence[str] = ()) -> str:
    """One sentence for a validation error: the first problem, with a suggestion for a misspelt field."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "value"
    if first["type"] == "extra_forbidden":
        names = [*beside, *(n for n in getattr(cls, "model_fields", {}) if n != "kind")]
        return f"{where} has the unknown field {place!r}{did_you_mean(str(first['loc'][-1]), names)}"
    if first["type"] == "missing":
        return f"{where} lacks the field {place!r}; add it"
    return f"{where} has a wrong {place!r}: {first['msg'][:1].lower()}{first['msg'][1:]} (given: {first['input']!r})"


def did_you_mean(word: str, words: list[str]) -> str:
    """A suggestion to end a sentence with: the nearest known word, or up to a dozen of them."""
    near = difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    known = sorted(set(words))
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    return f"; known: {', '.join(known[:LISTED])}{more}" if known else ""


def _stages_in(module: str, base: type[Stage]) -> list[type[Stage]]:
    found = inspect.getmembers(importlib.import_module(module), inspect.isclass)
    return [c for _, c in found if issubclass(c, base) and c.__module__ == module and "kind" in c.__annotations__]


def _name(cls: type[Stage]) -> str:
    role = "source:" if issubclass(cls, Source) else "sink:" if issubclass(cls, Sink) else ""
    return role + kind_of(cls)
