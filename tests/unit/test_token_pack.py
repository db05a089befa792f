"""Packs of tokens: what is written is read, and what is not whole or not ours is refused."""

import resource
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_streams import END, name_of, packed, written

from stages.errors import DataError, StorageError
from trainer import token_pack
from trainer.token_pack import PackWriter, TokenPack

SHARDS = st.lists(
    st.lists(st.none() | st.lists(st.integers(0, 499), max_size=6), max_size=5), min_size=1, max_size=4
).filter(any)


@settings(deadline=None, max_examples=50)
@given(SHARDS, st.data())
def test_documents_are_read_as_they_were_written_from_any_number_of_files(shards, data):
    documents = [d for shard in shards for d in shard]
    rows = np.array(data.draw(st.lists(st.integers(0, len(documents) - 1))), np.int64)
    sizes = [n for shard in shards for n in range(len(shard))]
    with TemporaryDirectory() as folder:
        pack = packed(Path(folder), shards)
        pack.verify()

        assert (pack.documents, pack.tokens) == (len(documents), sum(len(d or ()) for d in documents))
        assert pack.unknown == sum(d is None for d in documents)
        assert pack.lengths.tolist() == [-1 if d is None else len(d) for d in documents]
        assert pack.bytes.tolist() == sizes
        assert [pack.doc_id(n) for n in range(len(documents))] == [name_of(n).hex() for n in range(len(documents))]
        assert [pack.ids(n).tolist() for n, d in enumerate(documents) if d is not None] == [
            d for d in documents if d is not None
        ]
        assert pack.lengths_of(rows).tolist() == pack.lengths[rows].tolist()
        assert pack.bytes_of(rows).tolist() == [sizes[r] for r in rows]
        assert [i.tobytes() for i in pack.doc_ids_of(rows)] == [name_of(int(r)) for r in rows]


@settings(deadline=None, max_examples=50)
@given(SHARDS, st.data())
def test_parts_of_documents_are_copied_to_where_they_are_wanted(shards, data):
    known = [(n, d) for n, d in enumerate(d for shard in shards for d in shard) if d is not None]
    pieces = data.draw(st.lists(st.sampled_from(known).flatmap(_part), max_size=6)) if known else []
    wanted, numbers = [-1], []
    for row, offset, part in pieces:
        numbers.append((row, offset, len(part), len(wanted)))
        wanted += [*part, -1]
    found = np.full(len(wanted), -1)
    rows, offsets, lengths, at = np.array(numbers, np.int64).reshape(-1, 4).T
    with TemporaryDirectory() as folder:
        packed(Path(folder), shards).copy(rows, offsets, lengths, found, at)

    assert found.tolist() == wanted


def _part(document):
    row, tokens = document
    bounds = st.tuples(st.integers(0, len(tokens)), st.integers(0, len(tokens))).map(sorted)
    return bounds.map(lambda b: (row, b[0], tokens[b[0] : b[1]]))


@pytest.mark.parametrize(("vocabulary", "kind"), [(500, np.uint16), (65_536, np.uint16), (65_537, np.uint32)])
def test_ids_have_two_bytes_where_that_is_enough(tmp_path, vocabulary, kind):
    pack = packed(tmp_path, [[[vocabulary - 1, 0]]], vocabulary)

    assert pack.ids(0).dtype == kind
    assert pack.ids(0).tolist() == [vocabulary - 1, 0]
    assert (pack.vocabulary, pack.end_of_text, pack.tokenizer) == (vocabulary, END, "bpe-test")


def test_tokens_are_views_of_the_file_and_cannot_be_written(tmp_path):
    ids = packed(tmp_path, [[[1, 2, 3]]]).ids(0)

    assert ids.base is not None
    with pytest.raises(ValueError, match="read-only"):
        ids[0] = 1


def test_batches_appended_in_parts_or_as_text_give_the_same_file(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    written(whole, [[5, 6], None, [], [7]])
    with PackWriter(parts, vocabulary=500, end_of_text=END, tokenizer="bpe-test") as writer:
        for number, (length, ids) in enumerate([(2, [5, 6]), (-1, []), (0, []), (1, [7])]):
            names = np.array([name_of(number)], "S16")
            writer.append(names, np.array([length], np.int32), np.array(ids, np.uint32), np.array([number]))
        writer.close()

    assert parts.read_bytes() == whole.read_bytes()


def test_ids_that_end_in_zero_bytes_are_kept(tmp_path):
    with PackWriter(tmp_path / "a", vocabulary=500, end_of_text=END, tokenizer="t") as writer:
        writer.append(np.array([b"\1" + bytes(15)], "S16"), np.array([0]), np.array([], np.uint32), np.array([1]))
        writer.close()

    assert TokenPack.open([tmp_path / "a"]).doc_id(0) == "01" + "00" * 15


def test_a_pack_is_not_there_before_it_is_closed_and_leaves_nothing_after_an_error(tmp_path):
    path = tmp_path / "a"

    def fail_midway():
        with PackWriter(path, vocabulary=500, end_of_text=END, tokenizer="t") as writer:
            writer.append(np.zeros((1, 16), np.uint8), np.array([1]), np.array([4]), np.array([1]))
            raise RuntimeError(f"midway, and it is {path.exists()} that the file is there")

    with pytest.raises(RuntimeError, match="it is False that the file is there"):
        fail_midway()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_nothing_stays(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(
            StorageError, match=r"cannot write '.*a': File too large; free space or choose another folder"
        ):
            written(tmp_path / "a", [[1] * 40_000])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_together_is_refused(tmp_path):
    with pytest.raises(ValueError, match="end of text 500 is not an id of a vocabulary of 500 entries"):
        PackWriter(tmp_path / "a", vocabulary=500, end_of_text=500, tokenizer="t")
    with PackWriter(tmp_path / "a", vocabulary=500, end_of_text=END, tokenizer="t") as writer:
        names, one = np.zeros((1, 16), np.uint8), np.array([1])
        for lengths, ids in (([2], [1]), ([-2], []), ([1, 1], [1, 2])):
            with pytest.raises(ValueError, match="do not fit together"):
                writer.append(names, np.array(lengths), np.array(ids, np.int64), one)
        for wrong in (500, -1):
            with pytest.raises(DataError, match=rf"has the id {wrong}, but the tokenizer 't' has 500 entries"):
                writer.append(names, one, np.array([wrong]), one)


def test_a_row_that_is_not_there_or_not_known_is_refused(tmp_path):
    pack = packed(tmp_path, [[[1], None]])

    with pytest.raises(ValueError, match=f"the tokens of document {name_of(1).hex()} are unknown"):
        pack.ids(1)
    for row in (-1, 2):
        for refused in (pack.ids, pack.doc_id, lambda row: pack.lengths_of(np.array([row]))):
            with pytest.raises(IndexError, match="in a pack of 2 documents"):
                refused(row)


def test_keys_name_the_contents_and_their_order(tmp_path):
    one, two = written(tmp_path / "1", [[1]]), written(tmp_path / "2", [[2]], 1)
    copy = written(tmp_path / "3", [[1]])
    keys = [TokenPack.open(paths).key for paths in ([one, two], [two, one], [one], [copy, two])]

    assert len(set(keys[:3])) == 3
    assert keys[3] == keys[0]


def test_files_of_other_tokenizers_and_no_files_are_refused(tmp_path):
    paths = [written(tmp_path / "1", [[1]]), written(tmp_path / "2", [[1]], vocabulary=600)]

    with pytest.raises(DataError, match=r"2' has the vocabulary 600, but '.*1' has 500; tokenize all shards with one"):
        TokenPack.open(paths)
    with pytest.raises(DataError, match="there are no packs of tokens to open"):
        TokenPack.open([])


def test_a_cut_file_is_refused_wherever_it_was_cut(tmp_path):
    path = written(tmp_path / "a", [[1, 2], [3]])
    data = path.read_bytes()
    for length in range(0, len(data), 11):
        path.write_bytes(data[:length])
        with pytest.raises(StorageError, match=r"is not a pack of tokens|that was cut"):
            TokenPack.open([path])


def test_a_foreign_or_missing_file_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"PAR1" * 100)
    with pytest.raises(StorageError, match=r"a' is not a pack of tokens; delete it and run again"):
        TokenPack.open([tmp_path / "a"])
    with pytest.raises(StorageError, match=r"cannot read a pack of tokens '.*b': No such file or directory"):
        TokenPack.open([tmp_path / "b"])
    with pytest.raises(StorageError, match="cannot write"):
        PackWriter(tmp_path / "a" / "b", vocabulary=500, end_of_text=END, tokenizer="t")


def test_every_changed_byte_is_found_by_opening_or_by_verifying(tmp_path):
    path = written(tmp_path / "a", [[1, 2], [3]])
    data = bytearray(path.read_bytes())
    for place in range(0, len(data), 3):
        data[place] ^= 0x10
        path.write_bytes(data)
        with pytest.raises(StorageError, match=r"damaged|that was cut|is not a pack"):
            TokenPack.open([path]).verify()
        data[place] ^= 0x10


def test_more_files_than_may_be_mapped_at_once_are_read_all_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(token_pack, "OPEN_FILES", 2)
    pack = packed(tmp_path, [[[n]] for n in range(7)])
    rows = np.array([6, 0, 3, 6, 1, 5, 2, 4, 0])

    assert [pack.ids(int(r)).tolist() for r in rows] == [[r] for r in rows]
    found = np.zeros(len(rows), np.int64)
    pack.copy(rows, np.zeros_like(rows), np.ones_like(rows), found, np.arange(len(rows)))
    assert found.tolist() == rows.tolist()
