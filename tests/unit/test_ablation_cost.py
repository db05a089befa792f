"""What the curation of an arm is charged for: the steps that this arm needs and others do not."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

import pipelines
from pipelines.ablation.origins import changed, charged
from pipelines.plan import Plan, plan
from pipelines.spec import from_data

RAW: dict[str, Any] = {
    "name": "a",
    "source": {"kind": "jsonl", "path": "/corpus/*.jsonl"},
    "measure": {
        "clean": {"kind": "normalize"},
        "stats": {"kind": "text_stats"},
        "lang": {"kind": "language"},
        "unused": {"kind": "repetition"},
    },
    "keep": [
        {"column": "lang.p_en", "ge": 0.65, "on_null": "drop", "reason": "language"},
        {"column": "stats.words", "ge": 5, "on_null": "drop", "reason": "short"},
    ],
}


def planned(raw: Mapping[str, Any]) -> Plan:
    return plan(from_data(dict(raw)))


def test_the_text_that_every_arm_reads_is_charged_to_none():
    assert charged(planned(RAW), planned(RAW)) == {"stats", "lang"}


def test_a_text_of_an_arms_own_is_charged_to_it():
    own = changed(RAW, {"measure.clean": {"kind": "normalize", "ftfy": False}})

    assert charged(planned(own), planned(RAW)) == {"clean", "stats", "lang"}


def test_an_arm_without_a_rule_is_not_charged_for_what_the_rule_reads():
    assert charged(planned({**RAW, "keep": RAW["keep"][1:]}), planned(RAW)) == {"stats"}


def test_random_arms_of_the_comparison_with_active_selection_are_not_charged_for_its_scorer():
    raw = yaml.safe_load((Path(pipelines.__file__).parent / "specs" / "active-curriculum.yaml").read_text())
    arms = [arm for arm in raw["ablate"]["arms"] if isinstance(arm, dict)]
    reads = {arm["name"]: changed(raw, arm["set"])["select"]["by"] for arm in arms}

    assert reads == {"random-selection": "tokens.count", "active": "quality.p_high", "curriculum": "tokens.count"}
