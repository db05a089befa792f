"""What must hold for every corpus stage, whoever wrote it."""

import math
import pickle
from typing import Any

import pyarrow as pa

from stages.base import CorpusStage
from stages.catalog import parse
from stages.flow import MemoryFlow


def by_document(table: pa.Table, answer: pa.Table) -> dict[str, Any]:
    return dict(zip(table["doc_id"].to_pylist(), answer.to_pylist(), strict=True))


def test_answer_is_what_the_schema_says(corpus: Any) -> None:
    table = corpus.table()
    answer = corpus.run([table])

    assert {n: answer[n].type for n in answer.column_names} == {f.name: f.type for f in corpus.stage.schema()}
    assert answer.num_rows == table.num_rows


def test_a_corpus_without_documents_keeps_its_types(corpus: Any) -> None:
    answer = corpus.run([corpus.table().slice(0, 0)] * 2)

    assert {n: answer[n].type for n in answer.column_names} == {f.name: f.type for f in corpus.stage.schema()}
    assert answer.num_rows == 0


def test_neither_shards_nor_partitions_nor_order_change_anything(corpus: Any) -> None:
    table = corpus.table()
    whole = by_document(table, corpus.run([table], 1))
    backwards = table.take(list(range(table.num_rows))[::-1])

    for size, partitions in ((7, 2), (1, 5), (20, 1)):
        shards = [backwards.slice(i, size) for i in range(0, table.num_rows, size)]
        assert by_document(backwards, corpus.run(shards, partitions)) == whole


def test_chunks_change_nothing(corpus: Any) -> None:
    table = corpus.table()
    pieces = pa.concat_tables([table.slice(i, 5) for i in range(0, table.num_rows, 5)])

    assert corpus.run([pieces]).to_pylist() == corpus.run([table]).to_pylist()


def test_documents_without_text_change_nothing(corpus: Any, contract: Any) -> None:
    holes = corpus.table((*contract.TEXTS, *[None] * 20))
    answer = by_document(holes, corpus.run([holes]))
    table = corpus.table()

    assert {i: answer[i] for i in table["doc_id"].to_pylist()} == by_document(table, corpus.run([table]))


def test_unknown_is_null_and_numbers_are_finite(corpus: Any) -> None:
    for column in corpus.run([corpus.table()]).columns:
        if pa.types.is_floating(column.type):
            assert all(math.isfinite(v) for v in column.drop_null().to_pylist())


def test_every_column_names_its_unit(corpus: Any) -> None:
    assert all((f.metadata or {}).get(b"unit") for f in corpus.stage.schema())


def test_spec_survives_json_and_pickle(corpus: Any) -> None:
    stage = corpus.stage

    assert type(stage).model_validate_json(stage.model_dump_json()) == stage
    assert parse(stage.model_dump(mode="json"), "step", "step 'x'") == stage
    assert pickle.loads(pickle.dumps(stage)) == stage


def test_text_is_never_a_column_that_is_read(corpus: Any) -> None:
    stage = corpus.stage
    texts = {"text", *(f"{name}.text" for name in stage.companions())}

    assert not texts & set(stage.reads())
    assert stage.partition_by is None or stage.partition_by in stage.reads()


def test_companions_are_read_by_their_names(corpus: Any) -> None:
    stage = corpus.stage
    columns = {f"{name}.{f.name}" for name, c in stage.companions().items() for f in c.schema()}

    assert {c for c in stage.reads() if c.partition(".")[0] in stage.companions()} <= columns


def test_counts_of_a_program_do_not_depend_on_partitions(corpus: Any) -> None:
    def counts(stage: CorpusStage, partitions: int) -> dict[str, int]:
        table = corpus.table()
        flow = MemoryFlow([table.slice(0, 9), table.slice(9)], partitions)
        stage.program(flow)
        return flow.counts

    assert counts(corpus.stage, 1) == counts(corpus.stage, 4)
