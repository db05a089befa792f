from typing import Any

import pyarrow as pa
import pytest

from pipelines.export_columns import Columns
from pipelines.plan import Plan, plan
from pipelines.spec import from_data
from stages.base import Sink
from stages.errors import SpecError
from stages.sinks.litdata import Litdata
from stages.sinks.mds import Mds
from stages.sinks.parquet import Parquet
from stages.sinks.webdataset import Webdataset

TOKENS = {"kind": "tokens", "tokenizer": "artifact:bpe"}


def planned(measure: dict[str, Any], **sections: Any) -> Plan:
    pinned = {name: {"vocabulary": 300, "end_of_text": 0} for name, step in measure.items() if step["kind"] == "tokens"}
    spec = {"name": "web", "source": {"kind": "jsonl", "path": "x"}, "measure": measure, **sections}
    return plan(from_data(spec), pinned=pinned)


def columns(sink: Sink, **measure: Any) -> Columns:
    return planned(measure).columns(sink)


def test_a_token_format_reads_the_tokens_and_what_the_card_counts_and_no_text() -> None:
    found = columns(Litdata(), clean={"kind": "normalize"}, tokens=TOKENS)

    assert found.read == ("tokens.ids", "source", "license", "lang", "verdict.text_bytes")
    assert found.leaving.equals(pa.schema([("tokens", pa.list_(pa.uint32()))]))
    assert found.leaving.field("tokens").metadata == {b"vocabulary": b"300", b"end_of_text": b"0"}
    assert found.tokens == "tokens"


def test_text_is_the_text_that_leaves_and_measured_columns_have_their_own_names() -> None:
    sink = Parquet(columns=("doc_id", "text", "stats.words", "tok.ids", "tok.count"))

    found = columns(sink, clean={"kind": "normalize"}, stats={"kind": "text_stats"}, tok=TOKENS)

    assert found.read[:5] == ("doc_id", "clean.text", "stats.words", "tok.ids", "tok.count")
    assert found.leaving.names == ["doc_id", "text", "words", "tokens", "count"]


def test_a_name_that_two_columns_or_a_document_share_is_written_in_full() -> None:
    a, b = {"kind": "text_stats"}, {"kind": "text_stats", "text": "text"}
    sink = Parquet(columns=("text", "clean.text", "a.words", "b.words", "a.lines"))

    found = columns(sink, clean={"kind": "normalize"}, a=a, b=b)

    assert found.leaving.names == ["text", "clean.text", "a.words", "b.words", "lines"]


def test_only_a_document_s_own_columns_and_token_ids_have_their_names() -> None:
    sink = Parquet(columns=("clean.text", "weight.tokens", "weight.log_weight"))

    found = columns(sink, clean={"kind": "normalize"}, weight={"kind": "importance", "model": "artifact:x", "seed": 1})

    assert found.leaving.names == ["clean.text", "weight.tokens", "log_weight"]


def test_a_column_that_no_step_writes_is_refused_when_the_spec_is_planned() -> None:
    with pytest.raises(
        SpecError, match=r"the export is to hold 'tokens.id', which no step writes; did you mean 'tokens.ids'\?"
    ):
        planned({"tokens": TOKENS}, write={"kind": "parquet", "columns": ["tokens.id"]})


def test_a_token_format_without_a_step_of_tokens_is_refused_when_the_spec_is_planned() -> None:
    with pytest.raises(SpecError, match="the format 'megatron' holds tokens, and the spec measures none; add a step"):
        planned({}, write={"kind": "megatron"})


def test_a_type_that_the_vocabulary_does_not_fit_is_refused_when_the_spec_is_planned() -> None:
    spec = {"name": "web", "source": {"kind": "jsonl", "path": "x"}, "measure": {"tokens": TOKENS}}
    pinned = {"tokens": {"vocabulary": 70_000, "end_of_text": 0}}

    with pytest.raises(SpecError, match="a vocabulary of 70000 does not fit into uint16"):
        plan(from_data(spec | {"write": {"kind": "mds", "dtype": "uint16"}}), pinned=pinned)


def test_tokens_of_two_steps_are_refused() -> None:
    sink = Webdataset(columns=("a.ids", "b.ids"))

    with pytest.raises(SpecError, match=r"both 'a\.ids' and 'b\.ids'; name the tokens of one step"):
        columns(sink, a=TOKENS, b=TOKENS)


def test_mds_has_what_selection_and_order_add() -> None:
    mixture = {"kind": "mixture", "by": "source", "count": "tokens.count", "amount": 100, "temperature": 1.0, "seed": 1}
    sections = {"select": mixture, "order": {"kind": "curriculum", "by": "stats.words", "seed": 1}}

    found = planned({"stats": {"kind": "text_stats"}, "tokens": TOKENS}, **sections).columns(Mds())

    assert found.leaving.names == ["doc_id", "tokens", "epochs", "phase"]


def test_a_field_that_is_left_open_is_not_part_of_what_identifies_a_sink() -> None:
    assert Parquet().identity()["parameters"] == {"rows": 1000, "group_bytes": 16_000_000, "level": 3}
