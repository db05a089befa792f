"""The arms of an ablation, by name: which documents of a run each trains on, and in which order.

An arm is a view: a choice of documents and their order over one token column. What it is, is said here; `views` finds
the documents.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pipelines.ablation.request import AblateRequest, ArmRequest
from stages.errors import SpecError
from stages.fingerprint import key

SELECT, ORDER = "select", "order"
_UNFIT = re.compile(r"[^A-Za-z0-9._@+-]+")


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm. `raw` is the spec whose verdict chooses its documents; None: every document that was measured.

    matched: the arm to whose tokens it is cut at random, and without whose tokens it cannot be built; stages: the parts of
    the curation that it has, where that is known; without: the part that it lacks; again: the same documents under other
    seeds; run: another run, whose spec `raw` is.
    """

    name: str
    what: str
    raw: Mapping[str, Any] | None
    matched: str | None = None
    stages: frozenset[str] | None = None
    without: str | None = None
    again: bool = False
    run: str | None = None
    origin: str | None = None  # the folder that paths of `raw` are below


def parts(raw: Mapping[str, Any]) -> dict[str, tuple[str, int | None]]:
    """The parts of a spec's curation by name: where each is, as a section and an index in it.

    An entry of `keep` is called by its rule file (without version) or its reason; `select` and `order` by themselves.
    """
    found: dict[str, tuple[str, int | None]] = {}
    for index, entry in enumerate(raw.get("keep") or []):
        name = str(entry.get("rules") or entry.get("reason") or f"keep-{index}").partition("@")[0]
        name = _UNFIT.sub("-", name).strip("-") or f"keep-{index}"
        found[name if name not in found else f"{name}-{index}"] = ("keep", index)
    for section in (SELECT, ORDER):
        if raw.get(section):
            found[section] = (section, None)
    return found


def only(raw: Mapping[str, Any], wanted: frozenset[str]) -> dict[str, Any]:
    """The spec with those parts of its curation alone."""
    known = parts(raw)
    keep = [entry for i, entry in enumerate(raw.get("keep") or []) if _name_at(known, i) in wanted]
    rest = {k: v for k, v in raw.items() if k not in ("keep", SELECT, ORDER)}
    return {**rest, "keep": keep, **{s: raw[s] for s in (SELECT, ORDER) if s in wanted}}


def _name_at(known: Mapping[str, tuple[str, int | None]], index: int) -> str:
    return next(name for name, place in known.items() if place == ("keep", index))


def expand(request: AblateRequest, raw: Mapping[str, Any], subsets: Sequence[frozenset[str]] = ()) -> tuple[Arm, ...]:
    """The arms that a request names, over the spec of a run; `subsets` are the parts that `shapley` trains.

    Raises:
        SpecError: two arms have the same name, or an arm needs something that the run's spec does not have.
    """
    found: list[Arm] = []
    for asked in request.arms:
        found += _custom(asked, raw) if isinstance(asked, ArmRequest) else _BUILDERS[asked](request, raw, subsets)
    names = [arm.name for arm in found]
    for name in names:
        if names.count(name) > 1:
            raise SpecError(f"two arms are called {name!r}; rename the one that has a name of its own", arm=name)
    for arm in found:
        if arm.matched is not None and arm.matched not in names:
            found.append(
                replace(_curated(raw), what="what the run keeps (added, because arms are matched to it in size)")
            )
            break
    return tuple(found)


def _curated(raw: Mapping[str, Any]) -> Arm:
    return Arm("curated", "what the run keeps", raw, stages=frozenset(parts(raw)))


def _unfiltered(_request: AblateRequest, _raw: Mapping[str, Any], _subsets: Sequence[frozenset[str]]) -> Iterator[Arm]:
    yield Arm("unfiltered", "every document that could be measured", None, stages=frozenset())


def _kept(_request: AblateRequest, raw: Mapping[str, Any], _subsets: Sequence[frozenset[str]]) -> Iterator[Arm]:
    yield _curated(raw)


def _random(_request: AblateRequest, _raw: Mapping[str, Any], _subsets: Sequence[frozenset[str]]) -> Iterator[Arm]:
    yield Arm("random", "documents drawn at random, as many tokens as curated has", None, matched="curated")


def _unordered(_request: AblateRequest, raw: Mapping[str, Any], _subsets: Sequence[frozenset[str]]) -> Iterator[Arm]:
    if not raw.get(ORDER):
        raise SpecError("the arm 'unordered' is the run without its `order`, and its spec has none; leave the arm out")
    yield Arm(
        "unordered",
        "what the run keeps, in random order",
        only(raw, frozenset(parts(raw)) - {ORDER}),
        stages=frozenset(parts(raw)) - {ORDER},
        without=ORDER,
    )


def _again(request: AblateRequest, raw: Mapping[str, Any], subsets: Sequence[frozenset[str]]) -> Iterator[Arm]:
    own = [asked for asked in request.arms if isinstance(asked, ArmRequest) and asked.name == request.baseline]
    for arm in _custom(own[0], raw) if own else _BUILDERS[request.baseline](request, raw, subsets):
        yield replace(
            arm,
            name="again",
            what=f"{arm.name} once more under other seeds: what noise alone does",
            again=True,
            stages=None,
        )


def _leave_one_out(
    _request: AblateRequest, raw: Mapping[str, Any], _subsets: Sequence[frozenset[str]]
) -> Iterator[Arm]:
    every = frozenset(parts(raw))
    if not every:
        raise SpecError("leave-one-out needs a spec with `keep`, `select` or `order`, and this run's has none of them")
    for part in parts(raw):
        # An order drops nothing, so without it the size is the same.
        matched = None if part == ORDER else "curated"
        left = every - {part}
        yield Arm(
            f"without-{part}",
            f"the run without {part}" + (", cut at random to the tokens of curated" if matched else ""),
            only(raw, left),
            matched,
            stages=left,
            without=part,
        )


def _shapley(_request: AblateRequest, raw: Mapping[str, Any], subsets: Sequence[frozenset[str]]) -> Iterator[Arm]:
    every = frozenset(parts(raw))
    for subset in subsets:
        if subset and subset != every:
            named = [part for part in parts(raw) if part in subset]
            yield Arm(f"parts-{_short(named)}", f"only {', '.join(named)}", only(raw, subset), stages=subset)


def _short(named: Sequence[str]) -> str:
    whole = "+".join(named)
    return whole if len(whole) <= 60 else f"{len(named)}-{key(list(named))[:8]}"  # noqa: PLR2004 - a readable length


def _custom(asked: ArmRequest, raw: Mapping[str, Any]) -> Iterator[Arm]:
    from pipelines.ablation.origins import changed, spec_file  # noqa: PLC0415 - they need the parser of specs

    if asked.run is not None:
        yield Arm(asked.name, asked.what or f"what the run {asked.run} keeps", None, run=asked.run)
    elif asked.spec is not None:
        own, folder = spec_file(asked.spec)
        yield Arm(asked.name, asked.what or f"the spec {asked.spec}", {**raw, **own, **_sources(raw)}, origin=folder)
    else:
        what = asked.what or "the run with " + ", ".join(f"{path} = {value!r}" for path, value in asked.set.items())
        yield Arm(asked.name, what, changed(raw, asked.set))


def _sources(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {name: raw[name] for name in ("source", "sources") if name in raw}


_BUILDERS = {
    "unfiltered": _unfiltered,
    "curated": _kept,
    "random": _random,
    "unordered": _unordered,
    "again": _again,
    "leave-one-out": _leave_one_out,
    "shapley": _shapley,
}
