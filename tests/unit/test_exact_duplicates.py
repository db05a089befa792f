"""Exact copies, against the slow and obvious way."""

import unicodedata
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.corpus.exact_duplicates import ExactDuplicates
from stages.text.digest import Form

TEXTS = st.lists(
    st.none()
    | st.sampled_from(["", "a", "A", "a.", "ß", "SS", "é", "e\u0301", "日本", "日 本", "שלום", "👍", "…", "한"])
    | st.text(),
    max_size=30,
)


def duplicates(texts: list[str | None], form: Form) -> dict[str, Any]:
    """doc_id -> (cluster, size), the way the planner runs it: digests first, rows sorted, nulls apart."""
    stage = ExactDuplicates(form=form)
    companion = stage.companions()["digest"]
    digests = measure(companion, companion.open(), pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())}))
    ids = [f"{i:032x}" for i in range(len(texts))]
    rows = pa.table({"doc_id": ids, "digest.value": digests["value"]}).drop_null()
    answer = stage.relate(rows)
    found = dict(
        zip(
            rows["doc_id"].to_pylist(),
            zip(*(answer[n].to_pylist() for n in ("cluster", "cluster_size")), strict=True),
            strict=True,
        )
    )
    return {doc_id: found.get(doc_id) for doc_id in ids}


def compared(text: str | None, form: Form) -> str | None:
    if text is None or form == "exact":
        return text
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    return "".join(c for c in folded if unicodedata.category(c)[0] in "LNM") or None


@settings(max_examples=200, deadline=None)
@pytest.mark.parametrize("form", ["exact", "letters"])
@given(texts=TEXTS)
def test_clusters_are_those_of_comparing_every_pair(texts: list[str | None], form: Form) -> None:
    keys = [compared(text, form) for text in texts]
    expected = {}
    for i, key in enumerate(keys):
        same = [j for j, other in enumerate(keys) if other == key]
        expected[f"{i:032x}"] = None if key is None else (f"{same[0]:032x}", len(same))

    assert duplicates(texts, form) == expected


def test_a_cluster_is_named_by_its_smallest_document_wherever_it_lies() -> None:
    first, second = bytes(16), bytes([1] * 16)
    rows = pa.table(
        {"doc_id": ["a", "b", "c", "d"], "digest.value": pa.array([second, first, second, first], pa.binary(16))}
    )

    assert {n: v.to_pylist() for n, v in ExactDuplicates().relate(rows).items()} == {
        "cluster": ["a", "b", "a", "b"],
        "cluster_size": [2, 2, 2, 2],
    }


def test_a_million_copies_are_one_cluster() -> None:
    ids = pa.array([f"{i:032x}" for i in range(1_000_000)])
    rows = pa.table({"doc_id": ids, "digest.value": pa.array([bytes(16)] * 1_000_000, pa.binary(16))})
    answer = ExactDuplicates().relate(rows)

    assert answer["cluster"].unique().to_pylist() == ["0" * 32]
    assert answer["cluster_size"].unique().to_pylist() == [1_000_000]


def test_the_form_is_part_of_the_identity_and_of_the_companion() -> None:
    exact, letters = ExactDuplicates(), ExactDuplicates(form="letters", text="clean.text")

    assert exact.identity() != letters.identity()
    assert letters.companions()["digest"].model_dump() == {"kind": "digest", "text": "clean.text", "form": "letters"}
