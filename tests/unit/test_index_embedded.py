"""The index in the store: what it answers is what an obvious list answers, whatever was added, removed and merged."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_runs import BANDS, CONFIGURATION, PERMUTATIONS, ROWS, Obvious, answers, coming, name_of, table

from pipelines.index.chain import find, get
from pipelines.index.embedded import Embedded
from pipelines.progress import NullWatch
from pipelines.store import Store
from stages.errors import SpecError, StorageError
from stages.index.search import MAX_BUCKET, Snapshot

WATCH = NullWatch()
SKETCH = st.tuples(*[st.integers(0, 2)] * PERMUTATIONS)
DOCUMENT = st.tuples(st.integers(0, 15).map(name_of), SKETCH)
ADD = st.tuples(st.just("add"), st.sampled_from("ab"), st.lists(DOCUMENT, max_size=5, unique_by=lambda d: d[0]))
REMOVE = st.tuples(st.just("remove"), st.integers(0, 15).map(name_of))


def rows(corpus: str, documents: list[Any], key: str = "") -> Any:
    return coming(corpus, table([d for d, _ in documents], [s for _, s in documents]), key)


@given(st.lists(st.one_of(ADD, ADD, REMOVE), max_size=14), st.lists(SKETCH, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_it_answers_as_a_list_does_after_any_adds_removals_and_merges(steps, asked):
    with TemporaryDirectory() as folder:
        store, obvious = Store.open(folder), Obvious()
        Embedded(store, "seen", CONFIGURATION).add(rows("a", [], "begin"), WATCH)
        for number, step in enumerate(steps):
            if step[0] == "add":
                added = Embedded(store, "seen").add(rows(step[1], step[2], str(number)), WATCH)
                assert added.documents == obvious.add(step[1], step[2])
            elif any(e[1] == step[1] for e in obvious.entries):
                assert len(Embedded(store, "seen").remove([step[1]], None)) == obvious.remove(step[1])
            assert answers(Embedded(store, "seen"), asked) == [obvious.twins(s) for s in asked]
        index = Embedded(store, "seen")
        assert index.info()["documents"] == len(obvious.entries)
        assert index.info()["segments"] <= 12


def test_the_same_run_added_twice_changes_nothing(store):
    documents = rows("a", [(name_of(i), (i,) * PERMUTATIONS) for i in range(20)])
    Embedded(store, "seen", CONFIGURATION).add(documents, WATCH)
    before = {p: p.read_bytes() for p in Path(store.url).glob("indexes/**/*") if p.is_file()}

    again = Embedded(store, "seen").add(documents, WATCH)

    assert (again.documents, again.known) == (0, 20)
    assert {p: p.read_bytes() for p in Path(store.url).glob("indexes/**/*") if p.is_file()} == before


def test_another_run_over_the_same_documents_of_a_corpus_adds_the_new_ones_alone(store):
    old = [(name_of(i), (i,) * PERMUTATIONS) for i in range(20)]
    new = [(name_of(i), (i,) * PERMUTATIONS) for i in range(20, 23)]
    Embedded(store, "seen", CONFIGURATION).add(rows("a", old), WATCH)

    added = Embedded(store, "seen").add(rows("a", old + new, "later"), WATCH)

    assert (added.documents, added.known) == (3, 20)


def test_equal_ids_of_two_corpora_are_two_documents(store):
    Embedded(store, "seen", CONFIGURATION).add(rows("a", [(name_of(1), (1,) * PERMUTATIONS)]), WATCH)
    Embedded(store, "seen").add(rows("b", [(name_of(1), (2,) * PERMUTATIONS)]), WATCH)

    assert answers(Embedded(store, "seen"), [(1,) * PERMUTATIONS, (2,) * PERMUTATIONS]) == [
        [(1.0, name_of(1), "a")],
        [(1.0, name_of(1), "b")],
    ]


def test_what_was_taken_down_stays_down_when_it_is_added_again(store):
    documents = [(name_of(i), (7,) * PERMUTATIONS) for i in range(3)]
    Embedded(store, "seen", CONFIGURATION).add(rows("a", documents), WATCH)

    taken = Embedded(store, "seen").remove([name_of(1)], None)
    added = Embedded(store, "seen").add(rows("b", documents, "again"), WATCH)

    assert [(t["doc_id"], t["corpus"], t["path"]) for t in taken] == [(name_of(1), "a", f"part-{name_of(1)[0]}.jsonl")]
    assert (added.documents, added.taken_down) == (2, 1)
    [twins] = answers(Embedded(store, "seen"), [(7,) * PERMUTATIONS])
    assert name_of(1) not in {doc_id for _, doc_id, _ in twins}
    assert len(twins) == 4


def test_a_removal_can_be_limited_to_a_corpus_and_may_name_a_document_by_its_own_id(store):
    for corpus in "ab":
        Embedded(store, "seen", CONFIGURATION).add(rows(corpus, [(name_of(1), (1,) * PERMUTATIONS)]), WATCH)

    taken = Embedded(store, "seen").remove([f"id of {name_of(1)[:8]} 篩"], "a")

    assert [t["corpus"] for t in taken] == ["a"]
    assert answers(Embedded(store, "seen"), [(1,) * PERMUTATIONS]) == [[(1.0, name_of(1), "b")]]
    assert Embedded(store, "seen").info()["corpora"] == {"b": 1}


def test_removing_what_is_not_there_is_refused_and_removes_nothing(store):
    Embedded(store, "seen", CONFIGURATION).add(rows("a", [(name_of(1), (1,) * PERMUTATIONS)]), WATCH)

    with pytest.raises(SpecError, match="has no document"):
        Embedded(store, "seen").remove([name_of(1), name_of(2)], None)

    assert Embedded(store, "seen").info()["documents"] == 1


def test_removing_again_is_done_already(store):
    Embedded(store, "seen", CONFIGURATION).add(rows("a", [(name_of(1), (1,) * PERMUTATIONS)]), WATCH)
    Embedded(store, "seen").remove([name_of(1)], None)
    before = get(store, "seen").number

    assert Embedded(store, "seen").remove([name_of(1)], None) == []
    assert get(store, "seen").number == before


def test_of_two_writers_at_once_both_are_in_afterwards(store):
    mine = [(name_of(i), (1,) * PERMUTATIONS) for i in range(4)]
    theirs = [(name_of(i), (1,) * PERMUTATIONS) for i in range(4, 6)]
    Embedded(store, "seen", CONFIGURATION).add(rows("begin", []), WATCH)
    first = rows("mine", mine)
    asked = []

    def batches() -> Any:
        if not asked:
            Embedded(store, "seen").add(rows("theirs", theirs), WATCH)  # while the first writer is at work
        asked.append(1)
        return first.batches()

    added = Embedded(store, "seen").add(type(first)("mine", "r", "mine", 4, batches), WATCH)

    assert added.documents == 4
    assert len(asked) == 2, "who loses begins again"
    [twins] = answers(Embedded(store, "seen"), [(1,) * PERMUTATIONS])
    assert sorted(t[1:] for t in twins) == sorted([(d, "mine") for d, _ in mine] + [(d, "theirs") for d, _ in theirs])
    named = {f["path"] for s in get(store, "seen").segments for f in s["files"]}
    there = {p for p in store.list("indexes/seen/segments") if "/commits/" not in p}
    assert there == named, "the loser's files are deleted"


def test_the_snapshot_tells_contents_apart_and_no_merge_changes_it(store):
    snapshots = []
    for i in range(9):
        document = name_of(i), (i,) * PERMUTATIONS
        Embedded(store, "seen", CONFIGURATION).add(rows("a", [document], str(i)), WATCH)
        snapshots.append(get(store, "seen").snapshot)
    assert len(set(snapshots)) == 9
    assert get(store, "seen").number > 9, "there were merges"

    chain = [find_at(store, n).snapshot for n in range(1, get(store, "seen").number + 1)]
    assert list(dict.fromkeys(chain)) == snapshots
    Embedded(store, "seen").remove([name_of(3)], None)
    assert get(store, "seen").snapshot not in snapshots


def find_at(store: Store, number: int) -> Any:
    from stages.index.manifest import manifest_path, parse  # noqa: PLC0415 - one test needs them

    return parse(store.get(manifest_path("seen", number)), "")


def test_a_merge_of_many_blocks_keeps_every_document_and_every_order(store):
    count, kinds = 300_000, np.random.default_rng(5)
    ids = [kinds.bytes(16 * count).hex() for _ in range(2)]
    every = []
    for part, digits in enumerate(ids):
        doc_ids = [digits[i : i + 32] for i in range(0, len(digits), 32)]
        signatures = kinds.integers(0, 4, (count, PERMUTATIONS)).astype(np.uint32)
        signatures[:, :ROWS] = 9  # one bucket holds everybody
        Embedded(store, "seen", CONFIGURATION).add(coming(str(part), table(doc_ids, signatures)), WATCH)
        every.append((doc_ids, signatures))
    Embedded(store, "seen").remove(every[0][0][:1000], None)
    snapshot = Snapshot(store, get(store, "seen"))

    from pipelines.index.merging import merge  # noqa: PLC0415 - the one test that merges by hand

    entry = merge(store, "seen", snapshot, range(len(snapshot.segments)))

    assert entry is not None
    assert (entry["rows"], entry["corpora"]) == (2 * count - 1000, {"0": count - 1000, "1": count})
    merged = Snapshot(store, find(store, "seen").after(segments=(entry,))).segments[0]
    names = [d for doc_ids, _ in every for d in doc_ids][1000:]
    signatures = np.concatenate([s for _, s in every])[1000:]
    order = np.argsort(np.array(names), kind="stable")
    assert (merged.signatures == signatures[order]).all()
    places = np.linspace(0, len(names) - 1, 50).astype(np.int64)
    known = merged.documents(places)["id"].to_pylist()
    assert known == [f"id of {names[order[p]][:8]} 篩" for p in places]
    from pipelines.index.writing import keys_of  # noqa: PLC0415 - the oracle of the bands

    keys = keys_of(np.ascontiguousarray(merged.signatures), CONFIGURATION)
    for band in range(BANDS):
        by_key = np.argsort(keys[:, band], kind="stable")
        assert (merged.keys[band] == keys[by_key, band]).all()
        assert (merged.owners[band] == by_key).all()


def test_of_a_bucket_of_thousands_the_first_by_id_are_compared(store):
    names = sorted(name_of(i) for i in range(MAX_BUCKET + 200))
    shuffled = [names[i] for i in np.random.default_rng(3).permutation(len(names))]
    for part in (shuffled[:500], shuffled[500:]):
        Embedded(store, "seen", CONFIGURATION).add(
            coming(part[0], table(part, [(5,) * PERMUTATIONS] * len(part))), WATCH
        )
    snapshot = Snapshot(store, get(store, "seen"))

    found = snapshot.search(np.full((2, PERMUTATIONS), 5, np.uint32))

    assert found.capped == 2 * BANDS
    assert snapshot.documents(found.place[:MAX_BUCKET])["doc_id"].to_pylist() == names[:MAX_BUCKET]


def test_a_file_that_was_cut_short_is_named(store):
    Embedded(store, "seen", CONFIGURATION).add(rows("a", [(name_of(1), (1,) * PERMUTATIONS)]), WATCH)
    [path] = Path(store.url).glob("indexes/seen/segments/*.keys")
    path.write_bytes(path.read_bytes()[:-8])

    with pytest.raises(StorageError, match=r"\.keys' has 24 bytes, but the index was written with 32"):
        answers(Embedded(store, "seen"), [(1,) * PERMUTATIONS])


def test_an_index_that_is_not_there_is_refused_with_the_nearest_name(store):
    Embedded(store, "seen", CONFIGURATION).add(rows("a", []), WATCH)

    with pytest.raises(SpecError, match=r"has no index 'sene'; did you mean 'seen'\?"):
        Embedded(store, "sene").info()


def test_a_document_named_by_its_own_id_takes_no_other_with_the_same_doc_id_along(store):
    for corpus, own in (("a", "mine"), ("b", "yours")):
        documents = table([name_of(1)], [(1,) * PERMUTATIONS])
        documents = documents.set_column(1, "id", [[own]])
        Embedded(store, "seen", CONFIGURATION).add(coming(corpus, documents), WATCH)

    taken = Embedded(store, "seen").remove(["mine"], None)

    assert [t["corpus"] for t in taken] == ["a"]
    assert answers(Embedded(store, "seen"), [(1,) * PERMUTATIONS]) == [[(1.0, name_of(1), "b")]]
