"""Excess loss: proxy minus reference."""

import pyarrow as pa
import pytest

from stages.base import measure
from stages.errors import SpecError
from stages.text.language import Language
from stages.text.learnability import Learnability
from stages.text.text_stats import TextStats

STAGE = Learnability(proxy="raw.nats_per_token", reference="clean.nats_per_token")


def measured(proxy: list[float | None], reference: list[float | None], kind: pa.DataType) -> list[float | None]:
    columns = {STAGE.proxy: pa.array(proxy, kind), STAGE.reference: pa.array(reference, kind)}
    answer = measure(STAGE, STAGE.open(), pa.RecordBatch.from_pydict(columns))
    values: list[float | None] = answer["excess_nats_per_token"].to_pylist()
    return values


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32()])
def test_it_is_the_difference_and_null_where_either_is_unknown(kind):
    found = measured([5.5, 4.0, None, 3.0, None], [4.25, 4.5, 1.0, None, None], kind)

    assert found == [1.25, -0.5, None, None, None]


def test_what_is_infinite_on_either_side_is_unknown():
    assert measured([float("inf"), float("inf"), 1.0], [float("inf"), 1.0, float("inf")], pa.float64()) == [None] * 3


def test_it_reads_the_two_losses_and_no_text():
    assert STAGE.reads() == ("raw.nats_per_token", "clean.nats_per_token")


def test_losses_in_two_units_are_refused():
    stage = Learnability(proxy="stats.words", reference="stats.mean_word_chars")

    with pytest.raises(
        SpecError, match=r"subtracts 'stats.mean_word_chars' in .+ from 'stats.words' in .+; name two losses"
    ):
        stage.resolve({"stats": TextStats()})


def test_what_is_no_number_is_refused():
    with pytest.raises(SpecError, match=r"learnability reads numbers, and 'lang.code' holds string"):
        Learnability(proxy="lang.code", reference="lang.p").resolve({"lang": Language()})
