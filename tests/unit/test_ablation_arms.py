"""Arms by name: which spec chooses the documents of each."""

import pytest

from pipelines.ablation.arms import expand, only, parts
from pipelines.ablation.request import AblateRequest
from stages.errors import SpecError

RAW = {
    "name": "x",
    "source": {"kind": "jsonl", "path": "/x"},
    "measure": {},
    "keep": [
        {"rules": "gopher-quality@datatrove-0.10"},
        {"column": "a.b", "ge": 1, "on_null": "drop", "reason": "too short!"},
        {"one_of": "c.cluster", "by": "first", "reason": "gopher-quality"},
    ],
    "select": {"kind": "budget"},
    "order": {"kind": "curriculum"},
}


def request(*arms, **more):
    return AblateRequest(
        arms=arms, panel=("p",), **{"baseline": arms[0] if isinstance(arms[0], str) else arms[0]["name"], **more}
    )


def test_parts_are_called_by_rule_file_or_reason_and_never_alike():
    assert parts(RAW) == {
        "gopher-quality": ("keep", 0),
        "too-short": ("keep", 1),
        "gopher-quality-2": ("keep", 2),
        "select": ("select", None),
        "order": ("order", None),
    }


def test_a_spec_with_some_of_its_parts_has_no_others():
    found = only(RAW, frozenset({"too-short", "order"}))

    assert found == {**{k: RAW[k] for k in ("name", "source", "measure", "order")}, "keep": [RAW["keep"][1]]}


def test_a_spec_with_all_of_its_parts_is_itself():
    assert only(RAW, frozenset(parts(RAW))) == RAW


def test_leave_one_out_is_an_arm_for_each_part_matched_in_size_but_for_the_order():
    found = expand(request("unfiltered", "curated", "leave-one-out"), RAW)

    assert [(a.name, a.matched, a.without) for a in found] == [
        ("unfiltered", None, None),
        ("curated", None, None),
        ("without-gopher-quality", "curated", "gopher-quality"),
        ("without-too-short", "curated", "too-short"),
        ("without-gopher-quality-2", "curated", "gopher-quality-2"),
        ("without-select", "curated", "select"),
        ("without-order", None, "order"),
    ]
    assert [len(parts(a.raw)) for a in found[1:]] == [5, 4, 4, 4, 4, 4]


def test_an_arm_that_is_matched_brings_what_it_is_matched_to():
    assert [a.name for a in expand(request("unfiltered", "random"), RAW)] == ["unfiltered", "random", "curated"]


def test_again_is_the_baseline_under_other_seeds():
    (_, again) = expand(request("curated", "again"), RAW)

    assert (again.name, again.raw, again.again) == ("again", RAW, True)


def test_again_of_an_arm_of_its_own_is_that_arm():
    (own, again) = expand(request({"name": "calm", "set": {"order": None}}, "again"), RAW)

    assert (again.raw, again.run, again.again) == (own.raw, None, True)


def test_shapley_trains_the_subsets_that_it_is_given_but_for_the_empty_and_the_whole():
    subsets = [frozenset(), frozenset({"select"}), frozenset({"select", "too-short"}), frozenset(parts(RAW))]
    found = expand(request("unfiltered", "curated", "shapley"), RAW, subsets)

    assert [(a.name, a.stages) for a in found[2:]] == [
        ("parts-select", frozenset({"select"})),
        ("parts-too-short+select", frozenset({"select", "too-short"})),
    ]


def test_an_arm_of_its_own_changes_fields_of_the_run():
    (_, own) = expand(request("unfiltered", {"name": "hot", "set": {"select.temperature": 2, "order": None}}), RAW)

    assert own.raw == {**RAW, "select": {"kind": "budget", "temperature": 2}, "order": None}


@pytest.mark.parametrize(
    ("arms", "raw", "said"),
    [
        (["unfiltered", "unordered"], {**RAW, "order": None}, "the arm 'unordered' is the run without its `order`"),
        (["unfiltered", "leave-one-out"], {"name": "x"}, "leave-one-out needs a spec with `keep`, `select` or `order`"),
        (
            ["unfiltered", {"name": "x", "set": {"source.path": "/y"}}],
            RAW,
            "an arm cannot set source.path: all arms are made of the same documents",
        ),
        (
            ["unfiltered", "leave-one-out", {"name": "without-order", "run": "x"}],
            RAW,
            "two arms are called 'without-order'",
        ),
    ],
)
def test_an_arm_that_cannot_be_is_refused_with_a_sentence(arms, raw, said):
    with pytest.raises(SpecError) as error:
        expand(request(*arms), raw)

    assert said in error.value.message
