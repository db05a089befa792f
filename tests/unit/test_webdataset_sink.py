"""WebDataset shards against what Python's tar writer and NumPy make of the same members."""

import io
import json
import tarfile
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.sinks.token_ids import Coding
from stages.sinks.webdataset import Webdataset

Rows = list[dict[str, Any]]
PLAIN = pa.schema([("doc_id", pa.string()), ("text", pa.string()), ("meta", pa.string())])
SCHEMA = PLAIN.append(Coding(300, 299).field("tokens"))
DOCUMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.text(max_size=12) | st.text("xé", min_size=500, max_size=520),
            "meta": st.none() | st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2).map(json.dumps),
            "tokens": st.lists(st.integers(0, 298), max_size=300),
        }
    ),
    max_size=8,
).map(lambda found: [{"doc_id": f"{i:032x}", **row} for i, row in enumerate(found)])


def written(rows: Rows, schema: pa.Schema) -> tuple[bytes, dict[str, int]]:
    """The shard, and what writing it gave."""
    file = io.BytesIO()
    batch = pa.RecordBatch.from_pylist([{n: row[n] for n in schema.names} for row in rows], schema)
    counts = Webdataset().write([batch], schema, file)
    return file.getvalue(), dict(counts)


def read_webdataset(data: bytes) -> list[dict[str, Any]]:
    """Neighbouring members up to the first dot of their names, with Python's own tar reader."""
    found: dict[str, dict[str, Any]] = {}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        for member in tar:
            name, _, end = member.name.partition(".")
            file = tar.extractfile(member)
            assert file is not None
            found.setdefault(name, {})[end] = file.read()
    return [{"doc_id": name, **row} for name, row in found.items()]


def tar_of(members: list[tuple[str, bytes]]) -> bytes:
    """What Python's own tar writer makes of them, up to the padding of its last record."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        return file.getvalue() + bytes(1024)


def npy_of(ids: list[int]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array(ids, np.uint16))
    return file.getvalue()


@settings(max_examples=40, deadline=None)
@given(rows=DOCUMENTS)
def test_webdataset_shards_are_what_python_and_numpy_write_of_the_same_members(rows: Rows) -> None:
    data, counts = written(rows, SCHEMA)

    members = []
    for row, found in zip(rows, read_webdataset(data), strict=True):
        name, ids = row["doc_id"], [*row["tokens"], 299]
        given_meta = {} if row["meta"] is None else {"meta": json.loads(row["meta"])}
        assert json.loads(found["json"]) == {"doc_id": name, **given_meta}
        members += [
            (f"{name}.json", found["json"]),
            (f"{name}.tokens.npy", npy_of(ids)),
            (f"{name}.txt", row["text"].encode()),
        ]
    assert data == tar_of(members)
    assert counts == {"documents": len(rows), "tokens": sum(len(row["tokens"]) + 1 for row in rows)}


def test_webdataset_json_has_what_is_not_null_and_is_not_text() -> None:
    rows = [
        {"doc_id": "a", "text": "x", "meta": '{"n": 1.50}', "tokens": [1]},
        {"doc_id": "b", "text": "", "meta": None},
    ]

    data, counts = written(rows, PLAIN)

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        members = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]  # every member is a file
    assert members == {
        "a.json": b'{"doc_id":"a","meta":{"n": 1.50}}',
        "a.txt": b"x",
        "b.json": b'{"doc_id":"b"}',
        "b.txt": b"",
    }
    assert counts == {"documents": 2}


def test_webdataset_does_without_tokens() -> None:
    assert Webdataset().wanted(("doc_id", "text"), []) == ("doc_id", "text")
    assert Webdataset(columns=("text",)).wanted(("doc_id", "text", "lang"), ["tokens.ids"]) == ("doc_id", "text")
