"""A spec: what a person asks for, as data. YAML or JSON in, a frozen `Spec` out.

Unknown fields, kinds and columns are errors with a suggestion. Relative paths are relative to the spec file.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipelines.ablation.request import AblateRequest
from pipelines.ablation.request import sections as ablations
from pipelines.input_paths import absolute
from pipelines.labelling.request import LabelRequest, sections
from pipelines.learning.section import LearnRequest, learn_requests
from pipelines.yaml_text import read_yaml
from stages.base import CorpusStage, RowStage, Sink
from stages.catalog import corpus_stages, did_you_mean, explain, parse
from stages.errors import SpecError
from stages.rules import KeepEntry, parse_keep
from stages.sources.base import MAX_INT64, Source

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")
RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}\Z")
#: What `poll` can wait: it counts milliseconds in 32 bits.
MAX_SECONDS = 2_000_000
RESERVED = ("verdict", "document", "source", "sources", "leaving", "export", "select", "order", "placing", "texts")


class Write(BaseModel):
    """What leaves, and how it is cut into files."""

    model_config = ConfigDict(frozen=True, extra="allow")

    kind: str = "parquet"
    shard_bytes: int = Field(default=128_000_000, ge=1, le=MAX_INT64)
    text: str | None = None


class Limits(BaseModel):
    """Bounds on what may go wrong before a run stops, and on one document's resources.

    Bounds are in no key, as resources never are: a document that was quarantined for taking too long stays
    quarantined in the stored result of its step after the bound is raised. Deleting the step's folder from the
    store measures it again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_quarantine: float = Field(default=0.001, ge=0, le=1)
    max_drop: float | None = Field(default=None, ge=0, le=1)
    max_document_seconds: float = Field(default=30.0, gt=0, le=MAX_SECONDS)
    max_document_memory_bytes: int = Field(default=2_000_000_000, ge=1, le=MAX_INT64)
    max_shard_seconds: float = Field(default=1800.0, gt=0, le=MAX_SECONDS)


@dataclass(frozen=True, slots=True)
class Spec:
    """A parsed request. `raw` is the request as data, with absolute paths.

    `ablate` is not in it: what is trained afterwards changes no run.
    """

    name: str
    sources: Mapping[str, Source]
    measure: Mapping[str, RowStage | CorpusStage]
    keep: tuple[KeepEntry, ...]
    select: CorpusStage | None
    order: CorpusStage | None
    write: Write
    sink: Sink
    limits: Limits
    raw: Mapping[str, Any]
    folder: str
    learn: Mapping[str, LearnRequest] = field(default_factory=dict)
    label: tuple[LabelRequest, ...] = ()
    ablate: tuple[AblateRequest, ...] = ()


SECTIONS = (
    "name",
    "source",
    "sources",
    "learn",
    "label",
    "measure",
    "keep",
    "select",
    "order",
    "write",
    "ablate",
    "limits",
    "max_quarantine",
    "max_drop",
)


def load(path: str | Path, changes: Mapping[str, Any] | None = None) -> Spec:
    """The spec in a YAML or JSON file, with `--set` changes applied.

    Raises:
        SpecError: the file is missing or unreadable, or the spec is wrong.

    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the spec {str(path)!r} cannot be read: {error}; check the path", spec=str(path)) from error
    return from_text(text, file.resolve().parent, changes, where=str(path))


def from_text(text: str, folder: Path, changes: Mapping[str, Any] | None = None, where: str = "the spec") -> Spec:
    """The spec in YAML or JSON text; relative paths are below `folder`."""
    return from_data(read_yaml(text, where), folder, changes)


def from_data(value: Any, folder: Path | None = None, changes: Mapping[str, Any] | None = None) -> Spec:
    """The spec in a mapping.

    Raises:
        SpecError: an unknown section, kind or field, or a value that is refused.

    """
    if not isinstance(value, Mapping):
        raise SpecError("a spec is a mapping with at least `name` and `source`; see `tamis run --help`")
    base = folder or Path.cwd()
    raw = _plain(value)
    for path, change in (changes or {}).items():
        set_field(raw, path, _plain(change))
    for section in raw:
        if section not in SECTIONS:
            raise SpecError(f"the spec has the unknown section {section!r}{did_you_mean(str(section), list(SECTIONS))}")
    name = raw.get("name")
    if not isinstance(name, str) or not RUN_NAME.match(name):
        raise SpecError(f"the spec's name is {name!r}; write letters, digits, '.', '_' and '-' (at most 100)")
    sources = _sources(raw, base)
    ablate = ablations(raw.pop("ablate", None), base)
    write, sink = write_section(raw.get("write") or {})
    limits = _limits(raw)
    measure = _measure(raw.get("measure") or {}, sources)
    return Spec(
        name=name,
        sources=sources,
        measure=measure,
        keep=parse_keep(raw.get("keep") or []),
        select=_chooser(raw, "select", "selected"),
        order=_chooser(raw, "order", "position"),
        write=write,
        sink=sink,
        limits=limits,
        raw=raw,
        folder=str(base),
        learn=learn_requests(raw.get("learn"), base),
        label=sections(raw.get("label"), base),
        ablate=ablate,
    )


def _sources(raw: dict[str, Any], base: Path) -> dict[str, Source]:
    if ("source" in raw) == ("sources" in raw):
        raise SpecError("the spec needs `source` (one) or `sources` ({name: source}), and not both")
    given = {"source": raw["source"]} if "source" in raw else raw["sources"]
    if not isinstance(given, dict) or not given:
        raise SpecError("`sources` is a mapping of names to sources with at least one entry")
    found = {}
    for name, fields in given.items():
        where = "the source" if "source" in raw else f"source {name!r}"
        if not _possible(str(name)) and name != "source":
            raise SpecError(
                f"{where} has an impossible name: use letters, digits, '_' and '-', and no name of tamis's own"
            )
        if not isinstance(fields, dict):
            raise SpecError(f"{where} is not a mapping; write it as {{kind: jsonl, path: ...}}")
        if isinstance(fields.get("path"), str):
            fields["path"] = absolute(fields["path"], base, where)
        stage = parse(fields, "source", where)
        assert isinstance(stage, Source)
        found[str(name)] = stage
    return found


def _possible(name: str) -> bool:
    """Whether a source or step may have this name: it is also a folder's, and a line's in the ledger."""
    return NAME.match(name) is not None and name not in RESERVED and not name.startswith("choice-")


def _measure(given: Any, sources: Mapping[str, Source]) -> dict[str, RowStage | CorpusStage]:
    if not isinstance(given, dict):
        raise SpecError("`measure` is a mapping of step names to stages, such as {stats: {kind: text_stats}}")
    steps: dict[str, RowStage | CorpusStage] = {}
    for name, fields in given.items():
        where = f"step {name!r}"
        if not _possible(str(name)) or name in sources:
            raise SpecError(
                f"{where} has an impossible name: use letters, digits, '_' and '-', and not a source's name"
            )
        if not isinstance(fields, dict):
            raise SpecError(f"{where} is not a mapping; write it as {{kind: text_stats}}")
        stage = parse(fields, "step", where)
        assert isinstance(stage, (RowStage, CorpusStage))
        steps[str(name)] = stage
    return steps


def _chooser(raw: Mapping[str, Any], section: str, column: str) -> CorpusStage | None:
    """The stage of the section `select` or `order`, which must write the column that the section is for."""
    given = raw.get(section)
    if given is None:
        return None
    if not isinstance(given, dict):
        raise SpecError(f"`{section}` is {given!r}, not a mapping; write it as {{kind: ...}}", where=section)
    stage = parse(given, "step", f"`{section}`")
    if not isinstance(stage, CorpusStage) or column not in stage.schema().names:
        able = [k for k, cls in corpus_stages().items() if column in cls.writes.names]
        raise SpecError(
            f"`{section}` has the kind {stage.kind!r}, which writes no column {column!r}; known: {', '.join(able)}",
            where=section,
        )
    return stage


def write_section(given: Any, where: str = "`write`") -> tuple[Write, Sink]:
    """How files are cut, and the sink that writes them, from the section `write` or what stands for it.

    Raises:
        SpecError: an unknown kind or field, or a value that is refused.
    """
    if not isinstance(given, dict):
        raise SpecError("`write` is a mapping such as {kind: parquet, shard_bytes: 128000000}")
    try:
        write = Write.model_validate(given)
    except ValidationError as error:
        raise SpecError(explain(error, Write, where), where="write") from error
    rest = {k: v for k, v in given.items() if k not in ("shard_bytes", "text")}
    sink = parse({"kind": "parquet", **rest}, "sink", where, beside=list(Write.model_fields))
    assert isinstance(sink, Sink)
    return write, sink


def _limits(raw: dict[str, Any]) -> Limits:
    given = raw.get("limits") or {}
    if not isinstance(given, dict):
        raise SpecError("`limits` is a mapping such as {max_drop: 0.9}")
    merged = {**given, **{k: raw[k] for k in ("max_quarantine", "max_drop") if k in raw}}
    try:
        return Limits.model_validate(merged)
    except ValidationError as error:
        raise SpecError(explain(error, Limits, "`limits`"), where="limits") from error


def _plain(value: Any) -> Any:
    """Deep copy as plain data, refusing what JSON in UTF-8 and integers of 64 bits cannot hold."""
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
        return json.loads(text, parse_int=_int64)
    except (TypeError, ValueError, RecursionError) as error:
        raise SpecError(f"the spec holds something that is not plain data: {error}") from error


def _int64(digits: str) -> int:
    number = int(digits)
    if not -MAX_INT64 <= number <= MAX_INT64:
        raise ValueError(f"the integer {digits[:40]} does not fit in 64 bits")
    return number


def set_field(raw: dict[str, Any], path: str, change: Any) -> None:
    """Apply one `--set path=value`; list positions are numbers."""
    *parents, last = path.split(".")
    place: Any = raw
    for part in parents:
        if isinstance(place, list) and part.isdecimal() and int(part) < len(place):
            place = place[int(part)]
        elif isinstance(place, dict):
            place = place.setdefault(part, {})
        else:
            raise SpecError(f"--set {path}: the spec has no place {part!r}")
    if isinstance(place, list) and last.isdecimal() and int(last) < len(place):
        place[int(last)] = change
    elif isinstance(place, dict):
        place[last] = change
    else:
        raise SpecError(f"--set {path}: the spec has no place {last!r}")


def parse_change(text: str) -> tuple[str, Any]:
    """`path=value` as (path, value); the value is YAML."""
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise SpecError(f"--set {text!r} is not path=value, such as source.shard_bytes=3000000")
    return path.strip(), read_yaml(value, f"the value of --set {path}")
