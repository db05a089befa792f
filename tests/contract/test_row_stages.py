"""What must hold for every row stage, whoever wrote it."""

import math
import pickle
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from stages.base import measure
from stages.catalog import parse
from stages.fingerprint import canonical


def test_result_does_not_depend_on_batching(row: Any) -> None:
    batch = row.batch()
    whole = row.run(batch)

    for size in (1, 7):
        parts = [row.run(batch.slice(start, size)) for start in range(0, batch.num_rows, size)]
        assert pa.Table.from_batches(parts).combine_chunks().to_batches() == [whole]


def test_a_large_batch_gives_what_its_parts_give(row: Any) -> None:
    """Large enough that buffers grow, and that memory which was let go of too early is used again."""
    batch = row.batch()
    answers = row.run(batch)

    large = row.run(pa.Table.from_batches([batch] * 40).combine_chunks().to_batches()[0])

    assert all(large.slice(i * batch.num_rows, batch.num_rows) == answers for i in range(40))


def test_result_does_not_depend_on_where_a_batch_begins_in_its_buffers(row: Any) -> None:
    batch = row.batch()
    answers = row.run(batch)

    for start, length in ((1, 3), (5, 0), (11, 17), (batch.num_rows - 2, 2)):
        assert row.run(batch.slice(start, length)) == answers.slice(start, length)


def test_missing_input_gives_null_and_moves_nobody(row: Any) -> None:
    batch = row.batch()
    gaps = [i + gap for i in range(batch.num_rows) for gap in (0.0, 0.5)]  # a missing row after every row
    rows = pa.array([int(i) if i == int(i) else None for i in gaps], pa.int64())

    answer = row.run(batch.take(rows))

    there = pc.is_valid(rows)
    assert answer.filter(there) == row.run(batch)
    assert all(c.null_count == len(c) for c in answer.filter(pc.invert(there)).columns)


def test_empty_batch_keeps_its_types(row: Any) -> None:
    answer = row.run(row.batch().slice(0, 0))

    assert answer.num_rows == 0
    assert answer.schema.equals(row.stage.schema(), check_metadata=True)


def test_unknown_is_null_and_numbers_are_finite(row: Any) -> None:
    for column in row.run(row.batch()).columns:
        if pa.types.is_floating(column.type):
            assert all(math.isfinite(v) for v in column.drop_null().to_pylist())


def test_inputs_are_left_as_they_were(row: Any) -> None:
    batch = row.batch()
    before = pickle.dumps(batch)
    row.run(batch)

    assert pickle.dumps(batch) == before


def test_every_column_names_its_unit(row: Any) -> None:
    schema = row.stage.schema()

    assert len(schema) > 0
    assert all((f.metadata or {}).get(b"unit") for f in schema)
    assert {(f.metadata or {}).get(b"better", b"") for f in schema} <= {b"", b"higher", b"lower"}


def test_spec_survives_json(row: Any) -> None:
    again = type(row.stage).model_validate_json(row.stage.model_dump_json())

    assert again == row.stage
    assert parse(row.stage.model_dump(mode="json"), "step", "step 'x'") == row.stage
    assert canonical(again.identity()) == canonical(row.stage.identity())


def test_column_references_are_no_part_of_the_identity(row: Any) -> None:
    renamed = row.stage.model_copy(update={name: f"other.{name}" for name in row.stage.references()})

    assert renamed.identity() == row.stage.identity()


def test_two_runs_and_a_pickled_stage_give_equal_bytes(row: Any) -> None:
    batch = row.batch()
    again = pickle.loads(pickle.dumps(row.stage))

    assert again == row.stage
    assert _bytes(measure(again, again.open(), batch)) == _bytes(row.run(batch)) == _bytes(row.run(batch))


def test_examples_are_true(example: Any, contract: Any) -> None:
    cls, shown = example
    stage = cls.model_validate(shown.fields or {})

    answer = measure(stage, stage.open(), contract.example_batch(stage, shown)).to_pylist()[0]

    assert {name: answer[name] for name in shown.gives} == dict(shown.gives)


def test_every_stage_shows_examples_and_says_what_it_measures(row: Any) -> None:
    assert row.stage.examples
    assert (type(row.stage).__doc__ or "").strip()


@pytest.mark.timeout(60)
def test_hostile_texts_finish(row: Any, hostile: Any) -> None:
    answer = row.run(row.batch(tuple(hostile.values())))

    assert answer.num_rows == len(hostile)


def _bytes(batch: pa.RecordBatch) -> bytes:
    return bytes(batch.serialize())
