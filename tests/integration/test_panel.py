"""Panels built from files: which documents are drawn, what they are called, and what is refused."""

import gzip
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from panel_files import byte_tokenizer, write_texts

from pipelines.ablation.panel import build_panel
from pipelines.ablation.panel_draw import nearest
from pipelines.progress import NullWatch
from pipelines.run import Options
from stages.errors import DataError, SpecError
from trainer.panel import texts

OPTIONS = Options("local", 1)


class Listening(NullWatch):
    def __init__(self):
        self.said = []

    def say(self, sentence):
        self.said.append(sentence)


def built(store, folder, *paths, watch=None, **changes):
    wanted = {"bytes_per_domain": 200, "seed": 1, **changes}
    tokenizer = byte_tokenizer(store, folder)
    return build_panel(
        store, [str(p) for p in paths], tokenizer=tokenizer, options=OPTIONS, watch=watch or NullWatch(), **wanted
    )


@pytest.fixture
def files(tmp_path):
    write_texts(tmp_path / "clean/books/eval.jsonl", [f"A chapter, no. {n}: né {'x' * n}" for n in range(40)])
    write_texts(tmp_path / "clean/manuals/eval.jsonl", [f"Manual page {n}" for n in range(40)])
    return tmp_path / "clean"


def test_a_panel_is_drawn_to_the_bytes_of_each_domain_and_tokenized(store, tmp_path, files):
    record = built(store, tmp_path, files / "*/eval.jsonl")

    panel, known = record.open(store), texts(store.local(record.path))
    assert record.domains == panel.domains == ("books", "manuals")
    assert known["domain"].to_pylist() == sorted(known["domain"].to_pylist())
    assert [abs(share["bytes"] - 200) <= 30 for share in record.shares] == [True, True]
    assert record.bytes == panel.bytes_D.sum() == panel.tokens
    assert record.documents == panel.documents == len(set(panel.doc_ids))
    assert (record.tokenizer, record.vocabulary) == (panel.tokenizer, panel.vocabulary) != ("", 0)
    for text, begin, end in zip(known["text"].to_pylist(), panel.offsets_D1, panel.offsets_D1[1:], strict=False):
        assert end - begin == len(text.encode())
    assert len(np.unique(panel.ids[np.isin(panel.ids, panel.ids[:1])])) == 1


def test_the_draw_depends_on_texts_and_seed_and_not_on_names_order_or_format(store, tmp_path, files):
    own = built(store, tmp_path, files / "*/eval.jsonl")
    other = tmp_path / "moved"
    manuals = [f"Manual page {n}" for n in reversed(range(40))]
    write_texts(other / "a.jsonl", manuals[:13], domain="manuals")
    (other / "c").mkdir()
    pq.write_table(pa.table({"text": manuals[13:], "domain": ["manuals"] * 27}), other / "c/rest.parquet")
    books = (files / "books/eval.jsonl").read_bytes()
    (other / "books").mkdir()
    (other / "books/some.jsonl.gz").write_bytes(gzip.compress(books))

    moved = built(store, tmp_path, other / "c", other / "a.jsonl", other / "books/some.jsonl.gz")

    assert moved.key == own.key
    assert texts(store.local(moved.path)).equals(texts(store.local(own.path)))
    assert built(store, tmp_path, files / "*/eval.jsonl", seed=2).key != own.key
    assert built(store, tmp_path, files / "*/eval.jsonl", bytes_per_domain=100).key != own.key


def test_an_equal_request_reads_no_text_again(store, tmp_path, files):
    own = built(store, tmp_path, files / "*/eval.jsonl")

    again = built(store, tmp_path, files / "*/eval.jsonl")

    assert again == own
    assert len(list(store.list("panels"))) == 2  # one file and its record


def test_a_text_file_is_a_document_of_its_folders_domain(store, tmp_path):
    for n in range(3):
        path = tmp_path / "notes" / f"{n}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"Note {n}.", encoding="utf-8")

    record = built(store, tmp_path, tmp_path / "notes")

    assert [(s["domain"], s["documents"], s["bytes"]) for s in record.shares] == [("notes", 3, 21)]


def test_copies_count_once_and_small_domains_are_named(store, tmp_path):
    path = write_texts(tmp_path / "books/eval.jsonl", ["one text", "one text", "another", " \n"])
    watch = Listening()

    record = built(store, tmp_path, path, watch=watch)

    assert record.documents == 2
    assert watch.said[-2:] == [
        "the panel's files have 1 copies and 1 documents without text",
        "the panel's domain 'books' has 2 documents of 15 bytes together, so its own figures are coarse",
    ]


@pytest.mark.parametrize(
    ("sizes", "wanted", "drawn"),
    [([10, 10, 10], 20, 2), ([10, 10, 10], 15, 1), ([10, 90], 20, 1), ([50], 1, 1), ([5, 5], 99, 2)],
)
def test_so_many_documents_are_drawn_that_their_bytes_come_nearest(sizes, wanted, drawn):
    assert nearest(np.array(sizes), wanted) == drawn


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ({"books/eval.jsonl": []}, "there is no document in .*name files with text"),
        ({"books/eval.jsonl": [" "]}, "the panel's domain 'books' has no document with text"),
    ],
)
def test_a_panel_or_a_domain_without_text_is_refused(store, tmp_path, broken, sentence):
    for name, lines in broken.items():
        write_texts(tmp_path / "clean" / name, lines)

    with pytest.raises(DataError, match=sentence):
        built(store, tmp_path, tmp_path / "clean/*/eval.jsonl")


def test_one_domain_without_text_among_others_is_refused(store, tmp_path, files):
    write_texts(files / "encyclopedic/eval.jsonl", ["\n"])
    with pytest.raises(
        DataError, match="the panel's domain 'encyclopedic' has no document with text, so nothing could"
    ):
        built(store, tmp_path, files / "*/eval.jsonl")

    shutil.rmtree(files / "encyclopedic")
    (files / "encyclopedic").mkdir()
    (files / "encyclopedic/eval.jsonl").touch()
    with pytest.raises(DataError, match="the panel's domain 'encyclopedic' has no document with text"):
        built(store, tmp_path, files / "*/eval.jsonl")


def test_a_path_that_matches_nothing_and_no_path_at_all_are_refused(store, tmp_path):
    with pytest.raises(DataError, match="matches no file"):
        built(store, tmp_path, tmp_path / "nowhere/*.jsonl")
    with pytest.raises(SpecError, match="a panel needs files of held-out text, and none is named"):
        built(store, tmp_path)
    with pytest.raises(SpecError, match="a panel cannot have 0 bytes of each domain"):
        built(store, tmp_path, tmp_path, bytes_per_domain=0)
