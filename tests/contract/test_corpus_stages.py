"""What must hold for every corpus stage, whoever wrote it."""

import math
import pickle
import zlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from stages.base import CorpusStage
from stages.catalog import parse


def related(stage: CorpusStage, rows: pa.Table) -> pa.Table:
    answer = stage.relate(rows)
    return pa.table({name: answer[name] for name in stage.schema().names})


def test_answer_is_what_the_schema_says(corpus: Any) -> None:
    rows = corpus.rows()
    answer = corpus.stage.relate(rows)

    assert {n: (v.type, len(v)) for n, v in answer.items()} == {
        f.name: (f.type, rows.num_rows) for f in corpus.stage.schema()
    }


def test_empty_partition_keeps_its_types(corpus: Any) -> None:
    answer = corpus.stage.relate(corpus.rows().slice(0, 0))

    assert {n: (v.type, len(v)) for n, v in answer.items()} == {f.name: (f.type, 0) for f in corpus.stage.schema()}


def test_partitions_change_nothing(corpus: Any) -> None:
    rows = corpus.rows()
    if corpus.stage.partition_by is None:
        return
    whole = related(corpus.stage, rows)
    partition = pa.array([zlib.crc32(repr(v).encode()) % 3 for v in rows[corpus.stage.partition_by].to_pylist()])

    for k in range(3):
        mine = pc.equal(partition, k)
        assert related(corpus.stage, rows.filter(mine)).equals(whole.filter(mine))


def test_chunks_change_nothing(corpus: Any) -> None:
    rows = corpus.rows()
    pieces = pa.concat_tables([rows.slice(i, 5) for i in range(0, rows.num_rows, 5)])

    assert related(corpus.stage, pieces).combine_chunks() == related(corpus.stage, rows).combine_chunks()


def test_unknown_is_null_and_numbers_are_finite(corpus: Any) -> None:
    for column in related(corpus.stage, corpus.rows()).columns:
        if pa.types.is_floating(column.type):
            assert all(math.isfinite(v) for v in column.drop_null().to_pylist())


def test_every_column_names_its_unit(corpus: Any) -> None:
    assert all((f.metadata or {}).get(b"unit") for f in corpus.stage.schema())


def test_spec_survives_json_and_pickle(corpus: Any) -> None:
    stage = corpus.stage

    assert type(stage).model_validate_json(stage.model_dump_json()) == stage
    assert parse(stage.model_dump(mode="json"), "step", "step 'x'") == stage
    assert pickle.loads(pickle.dumps(stage)) == stage


def test_text_is_never_read(corpus: Any) -> None:
    stage = corpus.stage
    texts = {"text", *(f"{name}.text" for name in stage.companions())}

    assert not texts & set(stage.reads())
    assert stage.partition_by is None or stage.partition_by in stage.reads()


def test_companions_are_read_by_their_names(corpus: Any) -> None:
    stage = corpus.stage
    columns = {f"{name}.{f.name}" for name, c in stage.companions().items() for f in c.schema()}

    assert {c for c in stage.reads() if c.partition(".")[0] in stage.companions()} <= columns
