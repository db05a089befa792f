"""Planning is pure: keys change with what changes the numbers, and with nothing else."""

from typing import Any

import pytest

from pipelines.plan import plan
from pipelines.spec import from_data
from stages.errors import SpecError

SOURCE = {"kind": "jsonl", "path": "/corpus/*.jsonl"}


def planned(measure: dict[str, Any], keep: list[Any] | None = None, **more: Any) -> Any:
    return plan(from_data({"name": "a", "source": SOURCE, "measure": measure, "keep": keep or [], **more}))


def refused(measure: dict[str, Any], keep: list[Any] | None = None, **more: Any) -> str:
    with pytest.raises(SpecError) as caught:
        planned(measure, keep, **more)
    return caught.value.message


CHAIN = {"clean": {"kind": "normalize"}, "copies": {"kind": "exact_duplicates"}}


def test_text_defaults_to_the_end_of_the_rewriting_chain():
    made = planned(CHAIN)
    assert (made.text, made.step("copies.digest").reads, made.step("leaving").reads) == (
        "clean.text",
        ("clean.text",),
        ("clean.text",),
    )


def test_a_rewriting_step_reads_the_one_before_it():
    made = planned({"one": {"kind": "normalize"}, "two": {"kind": "normalize", "ftfy": False}})
    assert (made.step("two").reads, made.text) == (("one.text",), "two.text")


def test_a_fork_without_a_choice_names_both_ends():
    fork = {"one": {"kind": "normalize", "text": "text"}, "two": {"kind": "normalize", "text": "text"}}
    assert "one.text, two.text" in refused(fork)


def test_a_fork_with_a_choice_is_planned():
    fork = {"one": {"kind": "normalize", "text": "text"}, "two": {"kind": "normalize", "text": "text"}}
    assert planned(fork, write={"kind": "parquet", "text": "two.text"}).text == "two.text"


def test_an_unknown_column_is_refused_with_the_nearest_known_one():
    message = refused({"clean": {"kind": "normalize"}, "copies": {"kind": "exact_duplicates", "text": "claen.text"}})
    assert message == "step 'copies.digest' reads 'claen.text', which no step writes; did you mean 'clean.text'?"


def test_a_cycle_is_refused():
    loop = {"a": {"kind": "normalize", "text": "b.text"}, "b": {"kind": "normalize", "text": "a.text"}}
    assert "circle" in refused(loop)


def test_a_number_is_not_a_text():
    assert "holds int64" in refused({"clean": {"kind": "normalize", "text": "ordinal"}})


def test_a_new_name_a_new_place_and_a_new_rule_change_no_key():
    one = planned(CHAIN)
    two = plan(
        from_data(
            {
                "name": "b",
                "source": {**SOURCE, "path": "/moved/*.jsonl"},
                "measure": {"cleaned": CHAIN["clean"], "same": CHAIN["copies"]},
                "keep": [{"column": "leaving.bytes", "ge": 5, "on_null": "drop", "reason": "r"}],
            }
        )
    )
    assert [s.key for s in one.steps] == [s.key for s in two.steps]
    assert list(one.source_keys.values()) == list(two.source_keys.values())
    assert one.verdict_key != two.verdict_key


def test_a_changed_field_changes_the_keys_of_what_follows_it_only():
    one = planned({**CHAIN, "lang": {"kind": "language", "text": "text"}})
    two = planned(
        {**CHAIN, "clean": {"kind": "normalize", "ftfy": False}, "lang": {"kind": "language", "text": "text"}}
    )
    changed = {s.name for s, t in zip(one.steps, two.steps, strict=True) if s.key != t.key}
    assert changed == {"clean", "copies.digest", "copies", "leaving"}


def test_row_steps_before_and_after_a_corpus_step_are_two_passes():
    made = planned(CHAIN)
    assert [[s.name for s in p.steps] for p in made.phases] == [["clean", "copies.digest", "leaving"], ["copies"]]


def test_the_verdict_key_holds_the_content_of_rules_and_the_producers_of_their_columns():
    rule = {"column": "clean.changed", "eq": True, "on_null": "drop", "reason": "r"}
    one = planned(CHAIN, [rule])
    two = planned({**CHAIN, "clean": {"kind": "normalize", "ftfy": False}}, [rule])
    assert one.verdict_key != two.verdict_key
    assert one.verdict_key == planned(CHAIN, [{**rule, "cite": "a paper"}]).verdict_key
