"""`tamis learn quality`: labelled documents from files, a classifier fitted, calibrated and measured, an artifact kept."""

import hashlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from learners.quality import Settings
from learners.quality_study import Plan, study
from pipelines.artifacts import checked_name, keep
from pipelines.gather import Gathered, gather
from pipelines.learning.session import engine_of
from pipelines.passes import peak_memory_bytes
from pipelines.progress import NullWatch, Watch
from pipelines.run import Options
from pipelines.shards import batches
from pipelines.store import Store
from stages.artifacts import Artifact
from stages.errors import DataError, SpecError
from stages.text.quality import KIND

#: The labels of documents that are given as paths.
HIGH, LOW = "high", "low"
#: Documents of a label that are learned from at most, unless told otherwise: a few GB of text in memory.
MOST = 100_000
#: Bytes of text at most: Arrow's strings have 32-bit offsets.
LARGEST = 2_000_000_000
COLUMNS = ("doc_id", "id", "text", "source", "path", "ordinal", "meta")
SCHEMA = pa.schema([(name, pa.string()) for name in ("text", "label", "source", "where")])
#: What `gather` calls documents that do not name a source of their own.
UNNAMED = "texts"


@dataclass(frozen=True, slots=True)
class Learning:
    """What to learn from and how: either files of records with `text` and `label`, or paths of both classes.

    Of each label at most `most` documents count, chosen by hash of the seed and the document. Labels that are grades
    (0 to 5, say) become `high` from `at_least` on, and `low` below, as FineWeb-Edu has it with 3.
    """

    labels: Sequence[str] = ()
    positive: Sequence[str] = ()
    negative: Sequence[str] = ()
    plan: Plan = field(default_factory=lambda: Plan(Settings()))
    seed: int = 0
    most: int = MOST
    at_least: float | None = None

    def __post_init__(self) -> None:
        if self.at_least is not None and not self.labels:
            raise SpecError("--at-least is for --labels that are grades; leave it out")
        if bool(self.labels) == bool(self.positive or self.negative):
            raise SpecError("give either --labels FILE or both --positive PATH and --negative PATH")
        if not self.labels and not (self.positive and self.negative):
            missing = "--negative" if self.positive else "--positive"
            raise SpecError(f"a classifier tells at least two labels apart; give {missing} PATH as well")


def learn_quality(
    store: Store, name: str, learning: Learning, *, options: Options | None = None, watch: Watch | None = None
) -> Artifact:
    """Fit a classifier for the stage `quality` and keep it under a name.

    Raises:
        SpecError: the name cannot be one, or the high label is none.
        DataError: a path matches nothing, records have no label, or a class has too few documents.
    """
    checked_name(name)
    watch = watch or NullWatch()
    began, cpu = time.monotonic(), time.process_time()
    with engine_of(options or Options(), watch) as engine:
        if learning.labels:
            found = {"labels": gather(store, learning.labels, engine, watch)}
            table = _labelled(store, found["labels"], learning)
        else:
            found = {
                HIGH: gather(store, learning.positive, engine, watch),
                LOW: gather(store, learning.negative, engine, watch),
            }
            table = _of_classes(store, found, learning)
    watch.say(f"fitting on {table.num_rows} documents")
    done = study(table, learning.plan, seed=learning.seed)
    card = {
        "what": _what(learning, done.high, table.num_rows),
        "data": {role: own.json() for role, own in found.items()},
        **done.card,
        "cost": {
            "seconds": round(time.monotonic() - began, 3),
            "cpu_seconds": round(time.process_time() - cpu, 3),
            "peak_memory_bytes": peak_memory_bytes(),
        },
    }
    with tempfile.TemporaryDirectory(prefix="tamis-quality-") as folder:
        return keep(store, name, KIND, done.fitted.write(Path(folder)), identity=done.identity(), card=card)


def _what(learning: Learning, high: str | None, documents: int) -> str:
    """One sentence for people."""
    how = {"fasttext": "a fastText classifier", "embedding": "logistic regression over embeddings"}
    of = "of the label" if high is None else f"that a document is {high!r}"
    return f"The probability {of}, by {how[learning.plan.settings.kind]} fitted on {documents} labelled documents."


def _labelled(store: Store, gathered: Gathered, learning: Learning) -> pa.Table:
    """The documents of files whose records have a label."""
    chosen, unlabelled = _Chosen(learning.seed, learning.most), 0
    for row in _rows(store, gathered):
        meta = orjson.loads(row["meta"]) if row["meta"] else {}
        label = meta.get("label")
        if label is None:
            unlabelled += 1
        elif isinstance(label, (dict, list)):
            raise DataError(f"the label of the record {_where(row)} is {label!r}; a label is text or a number")
        else:
            chosen.add(_named(label, row, learning.at_least), row)
    if not chosen.documents:
        names = ", ".join(map(repr, learning.labels))
        raise DataError(
            f"none of the {unlabelled} records of {names} has a field 'label'; write one JSON object a line, with 'text' "
            "and 'label'"
        )
    return chosen.table()


def _named(label: Any, row: dict[str, Any], at_least: float | None) -> str:
    """A label as text; a grade as the class that it is of."""
    if at_least is None:
        return label if isinstance(label, str) else orjson.dumps(label).decode()
    try:
        return HIGH if float(label) >= at_least else LOW
    except ValueError as error:
        raise DataError(
            f"the label of the record {_where(row)} is {label!r}, and --at-least compares numbers; leave it out"
        ) from error


def _of_classes(store: Store, found: dict[str, Gathered], learning: Learning) -> pa.Table:
    """The documents of both classes."""
    chosen = _Chosen(learning.seed, learning.most)
    for label, gathered in found.items():
        for row in _rows(store, gathered):
            chosen.add(label, row)
    return chosen.table()


def _rows(store: Store, gathered: Gathered) -> Iterator[dict[str, Any]]:
    for shard in gathered.shards:
        for batch in batches(store, shard, COLUMNS, {}):
            yield from batch.to_pylist()


def _where(row: dict[str, Any]) -> str:
    return row["id"] or f"{row['path']}:{row['ordinal']}"


class _Chosen:
    """At most so many documents of each label, those of the smallest hash of seed and document."""

    def __init__(self, seed: int, most: int) -> None:
        self._seed, self._most = seed, most
        self.documents: dict[str, list[tuple[bytes, str, str, str]]] = {}

    def add(self, label: str, row: dict[str, Any]) -> None:
        """Take a document, or leave it."""
        own = self.documents.setdefault(label, [])
        name = f"{self._seed}\0quality-sample\0{row['doc_id']}".encode()
        source = row["path"] if row["source"] == UNNAMED else row["source"]
        own.append((hashlib.blake2b(name, digest_size=16).digest(), row["text"] or "", source, _where(row)))
        if len(own) >= 2 * self._most:
            self._cut(own)

    def _cut(self, own: list[tuple[bytes, str, str, str]]) -> None:
        own.sort(key=lambda document: document[0])
        del own[self._most :]

    def table(self) -> pa.Table:
        """The documents as `study` reads them."""
        for own in self.documents.values():
            self._cut(own)
        rows = [(text, label, s, w) for label, own in sorted(self.documents.items()) for _, text, s, w in own]
        if (size := sum(len(row[0].encode()) for row in rows)) > LARGEST:
            raise DataError(
                f"the labelled texts have {size / 1e9:.1f} GB, and at most {LARGEST / 1e9:.1f} GB can be learned from at "
                f"once; give a smaller --most than {self._most}"
            )
        columns = zip(*rows, strict=True) if rows else ([] for _ in SCHEMA)
        return pa.table([pa.array(c, pa.string()) for c in columns], schema=SCHEMA)
