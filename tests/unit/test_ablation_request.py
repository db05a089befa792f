"""What may be asked of an ablation, and what is refused with a sentence."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import api
from pipelines.ablation.request import AblateRequest, number, request_of, sections
from stages.errors import SpecError

PANEL = {"panel": "held-out.jsonl"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [("1.8M", 1_800_000), ("4e6", 4_000_000), ("2_000", 2000), ("3k", 3000), ("1B", 10**9), (5, 5), (4.0, 4)],
)
def test_numbers_may_be_written_as_people_write_them(written, meant):
    assert number(written) == meant


@given(st.integers(1, 10**12))
def test_a_whole_number_is_itself_however_it_is_written(n):
    assert number(n) == number(str(n)) == number(f"{n:_}") == n


def test_what_is_left_out_has_the_published_defaults():
    request = request_of(PANEL, "`ablate`")

    assert (request.arms, request.budgets, request.seed_list, request.parameters, request.bracket, request.panel) == (
        ("unfiltered", "curated", "random"),
        (1_000_000, 2_000_000, 4_000_000),
        (1, 2, 3),
        1_800_000,
        (0.5, 1.0, 2.0),
        ("held-out.jsonl",),
    )


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"arms": ["unfiltred"]}, "there is no arm 'unfiltred'; did you mean 'unfiltered'?"),
        ({"arms": ["curated"]}, "the baseline 'unfiltered' is none of the arms curated; name one of them"),
        ({"arms": ["unfiltered", "unfiltered"]}, "an arm is named twice among unfiltered, unfiltered; name each once"),
        ({"budgets": "4M,2M"}, "the budgets [4000000, 2000000] do not rise; write each once, the smallest first"),
        ({"tokenizer": "bpe"}, "the tokenizer is 'bpe'; write artifact:NAME (fit one with: tamis learn tokenizer)"),
        ({"bracket": [1, -1]}, "the bracket has a factor that is not above 0; write factors such as [0.5, 1, 2]"),
        ({"bracket": []}, "the bracket is empty; write factors such as [0.5, 1, 2]"),
        ({"budgets": "1e400"}, "'1e400' is more than anybody trains; write a number up to 1e+18"),
        (
            {"arms": ["unfiltered", "leave-one-out"], "baseline": "leave-one-out"},
            "the baseline cannot be 'leave-one-out', which stands for several arms; name a single arm such as 'curated'",
        ),
        (
            {"arms": ["again"], "baseline": "again"},
            "the baseline cannot be 'again', which is another arm once more; name a single arm such as 'curated'",
        ),
        (
            {"name": "../a"},
            "an ablation cannot be called '../a'; write letters, digits, '.', '_', '@', '+' and '-'",
        ),
        ({"parameters": "many"}, "'many' is no number; write one such as 1800000, 1.8M or 4e6"),
        (
            {"arms": ["unfiltered", {"name": "x"}]},
            "the arm 'x' needs one of `set`, `spec` and `run`, and not several",
        ),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_with_a_sentence(fields, said):
    with pytest.raises(SpecError) as error:
        request_of({**PANEL, **fields}, "`ablate`")

    assert error.value.message == f"`ablate`: {said}"


def test_an_unknown_field_is_refused_with_a_suggestion():
    with pytest.raises(SpecError, match=r"has the unknown field 'seedz'; did you mean 'seed'\?"):
        request_of({**PANEL, "seedz": 3}, "`ablate`")


def test_paths_of_a_spec_are_below_its_folder():
    (found,) = sections(
        {"panel": ["eval/*.jsonl", "s3://bucket/eval"], "arms": ["unfiltered", {"name": "x", "spec": "x.yaml"}]},
        Path("/specs"),
    )

    assert found.panel == ("/specs/eval/*.jsonl", "s3://bucket/eval")
    assert found.arms[1].spec == "/specs/x.yaml"


def test_an_entry_with_several_schedules_is_an_ablation_for_each():
    found = sections({**PANEL, "name": "both", "schedule": ["wsd", "cosine"]}, Path("/specs"))

    assert [(r.name, r.schedule) for r in found] == [("both-wsd", "wsd"), ("both-cosine", "cosine")]


def test_python_asks_for_one_schedule_at_a_time():
    with pytest.raises(SpecError, match="several schedules are 2 ablations; ask for one schedule at a time"):
        api.ablate_request({**PANEL, "schedule": ["wsd", "cosine"]})


def test_no_schedule_at_all_is_refused_and_not_skipped():
    with pytest.raises(SpecError, match="schedule"):
        sections({**PANEL, "schedule": []}, Path("/specs"))


def test_two_ablations_of_one_spec_need_two_names():
    with pytest.raises(SpecError, match="entry 2 of `ablate` is called 'ablation', as an earlier one is"):
        sections([PANEL, PANEL], Path("/specs"))


def test_where_files_are_is_not_part_of_what_the_numbers_depend_on():
    here, there = AblateRequest(panel=("a",), name="x"), AblateRequest(panel=("b",), name="y")

    assert here.identity() == there.identity()
