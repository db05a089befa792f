"""The step that looks documents up in an index."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from index_runs import BANDS, CONFIGURATION, PERMUTATIONS, ROWS, coming, name_of, table

from pipelines.index import bloom, redis_lsh
from pipelines.index.bloom import Bloom
from pipelines.index.chain import get, publish
from pipelines.index.embedded import Embedded
from pipelines.plan import Plan, plan
from pipelines.progress import NullWatch
from pipelines.spec import from_data
from pipelines.store import Store
from stages.base import measure
from stages.errors import SpecError, StorageError
from stages.text.digest import Digest
from stages.text.index_matches import IndexMatches
from stages.text.minhash import Minhash

SKETCH = Minhash(bands=BANDS, rows=ROWS)


@pytest.fixture
def seen(store: Store) -> Store:
    """A store with an index of two corpora that share an id."""
    one = table([name_of(1), name_of(2)], [(1,) * 8, (1, 1, 1, 1, 1, 1, 5, 5)])
    Embedded(store, "seen", CONFIGURATION).add(coming("a", one), NullWatch())
    Embedded(store, "seen").add(coming("b", table([name_of(1)], [(9,) * 8])), NullWatch())
    return store


def located(store: Store, **fields: Any) -> IndexMatches:
    return IndexMatches(of="sketch", index="seen", **fields).resolve({"sketch": SKETCH}).located(store)


def measured(stage: IndexMatches, store: Store, sketches: list[tuple[int, ...] | None]) -> list[dict[str, Any]]:
    values = [None if s is None else np.array(s, "<u4").tobytes() for s in sketches]
    batch = pa.RecordBatch.from_pydict(
        {
            "sketch.signature": pa.array(values, pa.binary(4 * PERMUTATIONS)),
            "doc_id": pa.array([name_of(i + 1) for i in range(len(sketches))]),
        }
    )
    return measure(stage, stage.open_in(store), batch).to_pylist()


def test_the_nearest_is_named_and_what_has_no_candidate_or_no_sketch_is_told_apart(seen):
    asked = [(1, 1, 1, 1, 1, 1, 5, 5), (1,) * 8, (3,) * 8, None]

    assert measured(located(seen), seen, asked) == [
        {"jaccard": 1.0, "nearest": name_of(2), "corpus": "a", "matches": 2},
        {"jaccard": 1.0, "nearest": name_of(1), "corpus": "a", "matches": 2},
        {"jaccard": None, "nearest": None, "corpus": None, "matches": 0},
        {"jaccard": None, "nearest": None, "corpus": None, "matches": None},
    ]


def test_below_the_threshold_nothing_counts(seen):
    [row] = measured(located(seen, threshold=0.8), seen, [(1, 1, 7, 7, 7, 7, 7, 7)])
    assert row == {"jaccard": None, "nearest": None, "corpus": None, "matches": 0}


def test_a_corpus_does_not_meet_itself_where_that_is_asked_for(seen):
    asked = [(1,) * 8, (9,) * 8]

    own = measured(located(seen, own_corpus="a"), seen, asked)

    assert [r["nearest"] for r in own] == [name_of(2), name_of(1)], "only its own entry, and only of its own corpus"
    assert [r["jaccard"] for r in own] == [0.75, 1.0]


def test_the_identity_is_the_state_of_the_index_and_neither_its_name_nor_its_place(seen):
    Embedded(seen, "twin", CONFIGURATION)
    stage = located(seen)

    other = stage.model_copy(update={"index": "elsewhere", "manifest": "indexes/elsewhere/x.json"})
    assert other.identity() == stage.identity()
    Embedded(seen, "seen").remove([name_of(2)], None)
    assert located(seen).identity() != stage.identity()


def test_a_located_stage_keeps_its_answers_while_the_index_goes_on(seen):
    stage = located(seen)
    before = measured(stage, seen, [(1, 1, 1, 1, 1, 1, 5, 5)])
    for i in range(10, 19):
        Embedded(seen, "seen").add(coming(str(i), table([name_of(i)], [(1,) * 8])), NullWatch())
    Embedded(seen, "seen").remove([name_of(2)], None)

    assert measured(stage, seen, [(1, 1, 1, 1, 1, 1, 5, 5)]) == before


@pytest.fixture
def filters(store: Store) -> Store:
    """A store with a Bloom index of two documents."""
    members = table([name_of(1), name_of(2)], [(1,) * 8, (1, 1, 1, 1, 1, 1, 5, 5)])
    Bloom(store, "seen", bloom.begin(CONFIGURATION, 100, 1e-6)).add(coming("a", members), NullWatch())
    return store


def test_a_bloom_index_knows_whether_a_document_shares_a_band_with_a_member_and_no_more(filters):
    asked = [(1,) * 8, (5,) * 8, (7, 7, 7, 7, 7, 7, 5, 5), (3,) * 8, None]
    nothing = {"jaccard": None, "nearest": None, "corpus": None}

    assert measured(located(filters), filters, asked) == [
        {**nothing, "matches": matches} for matches in (1, 1, 1, 0, None)
    ]


def test_a_located_stage_keeps_what_it_found_of_a_bloom_index_while_that_goes_on(filters):
    stage = located(filters)
    Bloom(filters, "seen").add(coming("b", table([name_of(3)], [(3,) * 8])), NullWatch())

    assert [r["matches"] for r in measured(stage, filters, [(1,) * 8, (3,) * 8])] == [1, 0]
    assert [r["matches"] for r in measured(located(filters), filters, [(1,) * 8, (3,) * 8])] == [1, 1]
    assert (stage.bloom["documents"], located(filters).bloom["documents"]) == (2, 3)
    assert stage.identity() != located(filters).identity()


def test_what_a_bloom_index_cannot_tell_is_refused_before_any_work(filters):
    for fields, words in (({"threshold": 0.8}, "leave out `threshold: 0.8`"), ({"own_corpus": "a"}, "whose twins")):
        with pytest.raises(SpecError, match=words):
            located(filters, **fields)


def test_a_rule_on_what_a_bloom_index_never_knows_is_refused(filters, tmp_path):
    def planned(column: str) -> Plan:
        value = {
            "name": "later",
            "source": {"kind": "jsonl", "path": str(tmp_path / "*.jsonl")},
            "measure": {
                "sketch": {"kind": "minhash", "bands": BANDS, "rows": ROWS},
                "known": {"kind": "index_matches", "of": "sketch", "index": "seen"},
            },
            "keep": [{"column": column, "lt": 1, "on_null": "keep", "reason": "seen-before"}],
        }
        return plan(from_data(value, tmp_path), files=filters)

    with pytest.raises(
        SpecError, match=r"'known.jaccard', which is null for every document.*write a rule on `matches`"
    ):
        planned("known.jaccard")
    assert planned("known.matches").policy.columns == ("known.matches",)


def test_a_filter_that_is_not_as_long_as_it_was_is_refused(filters):
    stage = located(filters)
    [path] = [f["path"] for f in get(filters, "seen").place["files"] if f["path"].endswith(".band-1.bf")]
    whole = filters.local(path)
    whole.write_bytes(whole.read_bytes()[:-1])

    with pytest.raises(StorageError, match="restore it or build the index again"):
        stage.open_in(filters)


def test_an_index_in_redis_is_refused(store):
    publish(store, "seen", redis_lsh.begin("seen", CONFIGURATION, "redis://nowhere:6379/0").after())

    with pytest.raises(SpecError, match="is kept in redis, which a run cannot look documents up in"):
        located(store)


def test_a_missing_index_is_refused_with_the_nearest_name(seen):
    with pytest.raises(SpecError, match=r"has no index 'sen'; did you mean 'seen'\?"):
        IndexMatches(of="sketch", index="sen").located(seen)


def test_other_sketches_are_refused_and_every_setting_that_differs_is_named(seen):
    stage = IndexMatches(of="sketch", index="seen").resolve(
        {"sketch": SKETCH.model_copy(update={"ngram": 8, "seed": 7})}
    )

    with pytest.raises(SpecError) as refused:
        stage.located(seen)

    assert refused.value.message == (
        "the index 'seen' holds sketches with ngram 5, seed 1, but step 'sketch' makes them with ngram 8, seed 7, and "
        "such sketches cannot be compared; use equal settings or another index"
    )


def test_a_step_that_makes_no_sketches_is_refused():
    with pytest.raises(SpecError, match="is of kind 'digest'"):
        IndexMatches(of="sketch", index="seen").resolve({"sketch": Digest()})


def test_a_spec_can_hold_the_state_of_the_index(seen):
    stage = located(seen)
    assert located(seen, snapshot=stage.snapshot) == stage.model_copy(update={"snapshot": stage.snapshot})
    Embedded(seen, "seen").remove([name_of(2)], None)

    with pytest.raises(SpecError, match=f"not {stage.snapshot}"):
        located(seen, snapshot=stage.snapshot)


def test_a_stage_that_was_not_located_does_not_open_in_a_store(seen):
    with pytest.raises(StorageError, match="was not located"):
        IndexMatches(of="sketch", index="seen").open_in(seen)
