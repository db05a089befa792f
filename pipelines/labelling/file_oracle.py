"""A labelled file as an oracle: JSON lines with `label` and `id` (the document's own) or `doc_id`."""

import gzip
import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.labelling.oracle import Batch, Question
from stages.errors import DataError
from stages.fingerprint import key


class FileOracle:
    """Labels that are known already."""

    def __init__(self, path: str | Path) -> None:
        self.labels = read_labels(Path(path))
        self._found = 0

    def identity(self) -> Mapping[str, Any]:
        """The labels by id."""
        return {"kind": "file", "labels": key(dict(sorted(self.labels.items())))}

    def knows(self, doc_ids: pa.Array, ids: pa.Array) -> npt.NDArray[np.bool_]:
        """Documents of which the file has the doc_id or the id."""
        pairs = zip(doc_ids.to_pylist(), ids.to_pylist(), strict=True)
        return np.array([d in self.labels or i in self.labels for d, i in pairs], bool)

    def ask(self, questions: Sequence[Question]) -> Batch:
        """The labels that the file has."""
        found = {q.doc_id: self.label_of(q.doc_id, q.id) for q in questions}
        self._found += sum(label is not None for label in found.values())
        return Batch(
            {d: label for d, label in found.items() if label is not None},
            {d: "unknown" for d, label in found.items() if label is None},
        )

    def label_of(self, doc_id: str, own_id: str | None) -> str | None:
        """The label of one document, or None."""
        return self.labels.get(doc_id, self.labels.get(own_id or ""))

    def facts(self) -> Mapping[str, Any]:
        """How many labels the file has."""
        return {"oracle": "file", "labels_in_file": len(self.labels), "answered": self._found}


def read_labels(path: Path) -> dict[str, str]:
    """Labels by id of a file of JSON lines, plain or gzip.

    Raises:
        DataError: it cannot be read, a line has no id or no label, or two lines of one id differ.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        name, label = _entry(line, f"line {number} of {str(path)!r}")
        if found.setdefault(name, label) != label:
            raise DataError(
                f"line {number} of {str(path)!r} calls {name!r} {label!r}, and an earlier line calls it {found[name]!r}; "
                "keep one of them",
                path=str(path),
                line=number,
            )
    if not found:
        raise DataError(f'{str(path)!r} holds no label; write lines such as {{"id": "a", "label": "high"}}')
    return found


def _lines(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
        return data.decode("utf-8-sig").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise DataError(
            f"the labels {str(path)!r} cannot be read: {error}; name a file of JSON lines, plain or gzip",
            path=str(path),
        ) from error


def _entry(line: str, where: str) -> tuple[str, str]:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise DataError(f"{where} is not JSON ({error}); mend or delete it", where=where) from error
    name = value.get("doc_id") or value.get("id") if isinstance(value, dict) else None
    label = value.get("label") if isinstance(value, dict) else None
    if isinstance(name, int) and not isinstance(name, bool):
        name = str(name)
    if isinstance(label, int) and not isinstance(label, bool):
        label = str(label)
    if not isinstance(name, str) or not isinstance(label, str) or not label.strip():
        raise DataError(f"{where} needs an `id` (or `doc_id`) and a `label`, both of them text; mend it", where=where)
    return name, label.strip()
