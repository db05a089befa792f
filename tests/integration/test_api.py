"""From Python: the same calls as on the command line, with Arrow where there are rows."""

from typing import Any

import pyarrow as pa
import pytest

from pipelines import api
from stages.errors import SpecError


def test_a_sample_is_a_table_of_documents_of_one_fate(finished_run: Any) -> None:
    found = api.sample(finished_run.run, fate="kept", n=5, seed=1, store=finished_run.store)
    assert (found.num_rows, set(found["fate"].to_pylist())) == (5, {"kept"})


def test_a_sample_of_nothing_is_a_table_without_rows(finished_run: Any) -> None:
    found = api.sample(finished_run.run, fate="rejected", reason="untidy", n=5, seed=1, store=finished_run.store)
    assert found.num_rows in range(6)


def test_runs_are_a_table(finished_run: Any) -> None:
    assert api.runs(store=finished_run.store)["run"].to_pylist() == [finished_run.run]


def test_every_document_comes_with_the_columns_that_are_asked_for(finished_run: Any) -> None:
    batches = list(api.documents(finished_run.run, ["leaving.bytes", "verdict.keep"], store=finished_run.store))
    table = pa.Table.from_batches(batches)
    total = finished_run.ledger["total"]
    assert table.column_names == ["doc_id", "leaving.bytes", "verdict.keep"]
    assert sum(table["verdict.keep"].to_pylist()) == total["exported"]
    assert table.num_rows == total["exported"] + total["rejected"]


def test_a_column_that_is_not_there_is_refused_with_the_nearest_one(finished_run: Any) -> None:
    with pytest.raises(SpecError, match=r"no column 'leaving.byte'; did you mean 'leaving.bytes'\?"):
        list(api.documents(finished_run.run, ["leaving.byte"], store=finished_run.store))
