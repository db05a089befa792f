"""`measure` is the only caller of kernels: what it promises to both sides."""

from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stages.base import Column, Columns, Kernel, RowStage, column, measure
from stages.errors import StageError


class Length(RowStage):
    """Characters of the text and of the url."""

    kind: Literal["length"] = "length"
    writes: ClassVar = pa.schema([column("chars", pa.int32(), "characters"), column("url", pa.int32(), "characters")])

    url: Column = "url"
    factor: int = 1

    def open(self) -> Kernel:
        def kernel(batch: pa.RecordBatch) -> Columns:
            assert all(c.null_count == 0 for c in batch.columns)
            assert batch.num_rows > 0
            return {
                "chars": pc.multiply(pc.utf8_length(batch[self.text]), pa.scalar(self.factor, pa.int32())),
                "url": pc.utf8_length(batch[self.url]),
            }

        return kernel


ROWS = st.lists(st.tuples(st.none() | st.text(), st.none() | st.text()), max_size=12)


@given(ROWS)
def test_rows_that_miss_an_input_get_null_and_the_others_keep_their_place(
    rows: list[tuple[str | None, str | None]],
) -> None:
    batch = pa.RecordBatch.from_pydict(
        {
            "other": pa.array(range(len(rows)), pa.int64()),
            "url": pa.array([u for _, u in rows], pa.string()),
            "text": pa.array([t for t, _ in rows], pa.string()),
        }
    )
    expected = [
        {"chars": None, "url": None} if t is None or u is None else {"chars": len(t), "url": len(u)} for t, u in rows
    ]

    assert measure(Length(), Length().open(), batch).to_pylist() == expected


def test_answers_carry_their_units() -> None:
    batch = pa.RecordBatch.from_pydict({"text": ["日本"], "url": ["x"]})

    assert measure(Length(), Length().open(), batch).schema.equals(Length.writes, check_metadata=True)


ONE = pa.array([1], pa.int32())


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"chars": ONE}, "did not give its column 'url'"),
        ({"chars": ONE, "url": ONE, "more": ONE}, r"gave the columns \['more'\], which it does not declare"),
        ({"chars": ONE, "url": pa.array([1, 2], pa.int32())}, "gave 2 values of int32 for 'url'"),
        ({"chars": ONE, "url": pa.array([1], pa.int64())}, "gave 1 values of int64 for 'url'; it declares int32"),
    ],
)
def test_a_kernel_that_breaks_its_schema_is_a_stage_error(answer: dict[str, pa.Array], message: str) -> None:
    batch = pa.RecordBatch.from_pydict({"text": ["a"], "url": ["b"]})

    with pytest.raises(StageError, match=message):
        measure(Length(), lambda _: answer, batch)


def test_nan_is_refused() -> None:
    class Ratio(RowStage):
        kind: Literal["ratio"] = "ratio"
        writes: ClassVar = pa.schema([column("r", pa.float32(), "1")])

    kernel: Kernel = lambda _: {"r": pa.array([float("nan")], pa.float32())}  # noqa: E731 -- a kernel in a line
    with pytest.raises(StageError, match="gave NaN for 'r'; what is unknown must be null"):
        measure(Ratio(), kernel, pa.RecordBatch.from_pydict({"text": ["a"]}))


def test_column_references_are_read_and_are_no_parameters() -> None:
    stage = Length(text="clean.text", url="meta.url", factor=2)

    assert stage.references() == ("text", "url")
    assert stage.reads() == ("clean.text", "meta.url")
    assert stage.identity() == {"kind": "length", "version": 1, "parameters": {"factor": 2}, "artifacts": {}}


def test_two_references_to_one_column_read_it_once() -> None:
    assert Length(text="a.b", url="a.b").reads() == ("a.b",)


def test_a_stage_is_frozen_and_knows_its_fields() -> None:
    stage = Length()
    with pytest.raises(ValidationError, match="frozen"):
        stage.factor = 3  # type: ignore[misc]  # it is frozen, which is the point
    with pytest.raises(ValidationError, match="Extra inputs"):
        Length.model_validate({"factr": 3})


def test_a_column_names_unit_direction_and_meaning() -> None:
    field = column("p", pa.float32(), "1", better="higher", doc="a share")

    assert field.metadata == {b"unit": b"1", b"better": b"higher", b"doc": b"a share"}
    assert column("n", pa.int64(), "words").metadata == {b"unit": b"words"}
