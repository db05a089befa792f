"""What a terminal shows of an ablation."""

import io
import json

import pytest
from ablation_results import result
from rich.console import Console

from pipelines.report.ablation_limits import cannot, warnings
from pipelines.terminal.ablated import show_ablation


@pytest.fixture(scope="module")
def done():
    return result()


def shown(done):
    console = Console(file=io.StringIO(), width=160)
    show_ablation(console, done, "tamis-store/")
    return console.file.getvalue()


def test_the_verdict_every_arm_and_the_report_are_shown(done):
    page = shown(done)

    assert done["evidence"]["verdict"] in page
    assert all(f"{arm['name']}: {arm['sentence']}" in page for arm in done["evidence"]["arms"])
    assert done["evidence"]["noise"]["sentence"] in page
    assert cannot(done)[0] in page
    assert page.splitlines()[-1] == f"tamis-store/ablations/{done['ablation']}/report.html"


def test_a_multiplier_is_shown_with_its_interval_and_the_baseline_as_one(done):
    page = shown(done)
    (curated,) = [arm for arm in done["evidence"]["arms"] if arm["name"] == "curated"]
    found = curated["multiplier"]

    assert f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]" in page
    assert "1 (baseline)" in page


def test_everything_that_is_wrong_with_an_ablation_is_told(done):
    broken = json.loads(json.dumps(done))
    broken["endpoints"][0].update(diverged="the loss was NaN at step 12", bits_per_byte=None)
    broken["learning_rates"]["edge"] = True
    broken["stopped"] = "every comparison was decided"
    told = warnings(broken)

    assert [said.split(" ")[0] for said in told] == ["1", "The", "Arms", "Stopped"]
    assert all(said in shown(broken) for said in told)


def test_what_cannot_be_told_is_not_made_up(done):
    odd = json.loads(json.dumps(done))
    odd["evidence"]["arms"][0]["multiplier"].update(value=None, low=None, high=None)
    odd["evidence"]["arms"][1]["multiplier"].update(low=None)
    for endpoint in odd["endpoints"]:
        if endpoint["arm"] == "curated":
            endpoint["bits_per_byte"] = None
    page = shown(odd)

    assert "unknown" in page
    assert "[…, " in page
    assert "–" in page
