"""A panel's file: what is written is read, and nothing else is taken for one."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stages.errors import DataError, StorageError
from trainer.panel import DOCUMENTS, Panel, texts, write

FACTS = {"key": "k", "tokenizer": "bpe-1", "vocabulary": 300, "end_of_text": 7, "domains": ["books", "manuals"]}


def documents(*rows):
    columns = ("doc_id", "domain", "path", "id", "text", "bytes", "ids")
    return pa.Table.from_pylist([dict(zip(columns, row, strict=True)) for row in rows], DOCUMENTS)


BOOK = ("0" * 32, "books", "books/a.jsonl", "a:1", "né", 3, [4, 5, 6])
MANUAL = ("1" * 32, "manuals", "manuals/b.jsonl", None, "on", 2, [299, 1])


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "panel.parquet"
    write(path, documents(BOOK, MANUAL), FACTS)

    panel = Panel.open(path)

    assert (panel.key, panel.tokenizer, panel.vocabulary, panel.end_of_text) == ("k", "bpe-1", 300, 7)
    assert panel.domains == ("books", "manuals")
    assert panel.doc_ids == ("0" * 32, "1" * 32)
    assert panel.domain_D.tolist() == [0, 1]
    assert panel.bytes_D.tolist() == [3, 2]
    assert (panel.ids.tolist(), panel.offsets_D1.tolist()) == ([4, 5, 6, 299, 1], [0, 3, 5])
    assert (panel.documents, panel.tokens) == (2, 5)
    assert panel.shares() == [
        {"domain": "books", "documents": 1, "bytes": 3, "tokens": 3},
        {"domain": "manuals", "documents": 1, "bytes": 2, "tokens": 2},
    ]
    assert texts(path)["text"].to_pylist() == ["né", "on"]


def test_a_panel_without_documents_is_refused(tmp_path):
    with pytest.raises(DataError, match="a panel needs documents, and there is none"):
        write(tmp_path / "panel.parquet", documents(), FACTS)


def test_a_document_without_tokens_is_refused(tmp_path):
    with pytest.raises(DataError, match="the panel's document 11111111111111111111111111111111 has no token"):
        write(tmp_path / "panel.parquet", documents(BOOK, (*MANUAL[:-1], [])), FACTS)


def cut_short(path):
    write(path, documents(BOOK, MANUAL), FACTS)
    path.write_bytes(path.read_bytes()[:-20])


def of_another_format(path):
    write(path, documents(BOOK), {**FACTS, "format": 2})


def of_something_else(path):
    pq.write_table(pa.table({"doc_id": ["x"]}), path)


@pytest.mark.parametrize("make", [cut_short, of_another_format, of_something_else, lambda path: None])
def test_a_file_that_is_no_panel_is_named(tmp_path, make):
    path = tmp_path / "panel.parquet"
    make(path)

    with pytest.raises(StorageError, match=r"the panel '.*panel.parquet' cannot be read .*build the panel again"):
        Panel.open(path)


def test_ids_keep_their_width(tmp_path):
    path = tmp_path / "panel.parquet"
    write(path, documents((*BOOK[:-1], [2**32 - 1])), FACTS)

    assert Panel.open(path).ids.dtype == np.uint32
    assert Panel.open(path).ids.tolist() == [2**32 - 1]
