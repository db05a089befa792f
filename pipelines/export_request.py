"""What an export is asked to be, and what its manifest says it is."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.export_columns import COUNTED, EPOCHS, SIZE, Columns
from pipelines.export_file import MAX_COUNTED
from pipelines.export_ordered import ORDERED
from pipelines.export_plan import KEEP
from pipelines.plan import Plan
from pipelines.store import Store
from stages.artifacts import PREFIX, find
from stages.base import Sink
from stages.fingerprint import key
from stages.text.tokens import Tokens
from stages.tokenization import FILE, KIND

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Request:
    """What to export: the run's plan, how files are written, and how much text goes into one."""

    store: Store
    run: str
    plan: Plan
    sink: Sink
    shard_bytes: int

    @property
    def columns(self) -> Columns:
        """What is read of a document."""
        return self.plan.columns(self.sink)

    @property
    def measured(self) -> tuple[str, ...]:
        """The measured columns that an export reads."""
        ordered = ORDERED if self.plan.order is not None else ()
        return tuple(dict.fromkeys((*self.columns.measured, KEEP, SIZE, *ordered)))

    @property
    def key(self) -> str:
        """The same for the same run, format and cut."""
        identity = {"format": FORMAT, "run": self.run, "sink": self.sink.identity(), "shard_bytes": self.shard_bytes}
        return key(identity)


def beside_data(request: Request, records: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Small files, by name, that the data needs: the index of the format, and the tokenizer of its tokens.

    Raises:
        StorageError: the tokenizer is missing or damaged.
    """
    columns = request.columns
    written = [{n: r[n] for n in ("name", "rows", "bytes", "sha256")} | r["written"] for r in records]
    found = request.sink.index(written, columns.leaving)
    if columns.tokens is not None:
        artifact = find(request.store, PREFIX + str(_tokens(request).found), KIND)
        found[FILE] = artifact.path(request.store, FILE).read_bytes()
    return found


def manifest_of(request: Request, records: Sequence[Mapping[str, Any]], small: Mapping[str, bytes]) -> dict[str, Any]:
    """The manifest: what the export is of, its files with checksums, and totals.

    `files` are the data files, each followed by its companions, which count no documents of their own; `beside` are `small`.
    """
    listed = [entry for record in records for entry in _entries(record)]
    tokens = [r["written"]["tokens"] for r in records if "tokens" in r["written"]]
    total = {
        "documents": sum(f["rows"] for f in listed),
        "text_bytes": sum(f["text_bytes"] for f in listed),
        "bytes": sum(f["bytes"] for f in listed),
        "files": len(listed),
    }
    return {
        "format": FORMAT,
        "key": request.key,
        "name": request.plan.spec.name,
        "run": request.run,
        "kind": request.sink.kind,
        "schema": request.columns.json(),
        "files": listed,
        "total": total | ({"tokens": sum(tokens)} if tokens else {}),
        "counts": {column: _together([r["counts"][column] for r in records]) for column in COUNTED},
        **({"beside": [_small(*item) for item in sorted(small.items())]} if small else {}),
        **_tokenizer(request),
    }


def _entries(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    first = {name: record[name] for name in ("name", "rows", "bytes", "text_bytes", "sha256")}
    if "tokens" in record["written"]:
        first["tokens"] = record["written"]["tokens"]
    return [first, *({**own, "rows": 0, "text_bytes": 0} for own in record.get("companions", ()))]


def _small(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _tokens(request: Request) -> Tokens:
    """The step whose tokens are written."""
    step = request.columns.tokens
    assert step is not None
    stage = request.plan.step(step).stage
    assert isinstance(stage, Tokens)
    return stage


def _tokenizer(request: Request) -> dict[str, Any]:
    """What a reader of token ids needs to know; nothing where there are none."""
    if request.columns.tokens is None:
        return {}
    stage, sink = _tokens(request), request.sink
    facts = {"tokenizer": stage.found, "vocabulary": stage.vocabulary, "end_of_text": stage.end_of_text}
    leaving = request.columns.leaving
    once = EPOCHS in request.plan.fields() and EPOCHS not in request.columns.read
    return {"tokens": facts | sink.told(leaving) | ({"once": True} if once else {})}


def _together(parts: Sequence[Mapping[str, int] | None]) -> dict[str, int] | None:
    """Documents by value over all files, most frequent first; None for a column of many values."""
    total: Counter[str] = Counter()
    for part in parts:
        if part is None:
            return None
        total.update(part)
    if len(total) > MAX_COUNTED:
        return None
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))
