"""`tamis scaling fit`: numbers for machines and people, the page, and a sentence for everything wrong with a file."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines import api
from pipelines.report.scaling import render
from pipelines.scaling_points import read_points
from stages.errors import DataError, SpecError

PUBLISHED = Path(__file__).parents[3] / "shared" / "data" / "fixtures" / "chinchilla_points.csv"


def scaling(*args):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run(
        [sys.executable, "-m", "pipelines.cli", "scaling", "fit", *map(str, args)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )


def rows(arms=("",), header="parameters,tokens,loss", seed=0):
    """Lines of a CSV file: 4 sizes at 5 token counts for each arm; a later arm needs fewer tokens."""
    generator = np.random.default_rng(seed)
    lines = [header + (",arm" if arms != ("",) else "")]
    for k, arm in enumerate(arms):
        for n in np.geomspace(1e6, 1e8, 4):
            for d in np.geomspace(1e7, 1e9, 5):
                loss = 1.8 + 200 * n**-0.34 + 400 * (d * (1 + 0.4 * k)) ** -0.33
                lines.append(f"{n:.6g},{d:.6g},{loss * np.exp(0.001 * generator.standard_normal()):.6f}" + arm * 0)
                lines[-1] += f",{arm}" if arm else ""
    return lines


def written(folder, lines):
    path = folder / "runs.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.shared
def test_the_published_points_give_the_published_law_on_the_command_line():
    if not PUBLISHED.exists():
        pytest.skip("the shared data folder is not here")

    done = scaling(PUBLISHED, "--json")

    found = json.loads(done.stdout)
    assert {name: round(found[name]["value"], 3) for name in ("E", "alpha", "beta")} == {
        "E": 1.817,
        "alpha": 0.347,
        "beta": 0.367,
    }
    assert all(
        found[name]["low"] < found[name]["value"] < found[name]["high"] for name in ("E", "A", "B", "alpha", "beta")
    )


def test_a_file_with_arms_is_told_to_people_and_drawn(tmp_path):
    path = written(tmp_path, rows(("unfiltered", "curated")))
    page = tmp_path / "out" / "scaling.html"

    done = scaling(path, "--budget", "1e18", "2e19", "--bootstrap", "60", "--out", page)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("unfiltered: L = E + A/N^α + B/D^β of 20 runs in 4 sizes, ")
    assert [line.partition(":")[0] for line in lines if "FLOPs:" in line] == ["1e+18 FLOPs", "2e+19 FLOPs"] * 2
    assert any(line.startswith("against unfiltered, curated moves ") for line in lines)
    assert lines[-1] == str(page)
    html = page.read_text("utf-8")
    assert "tamis scaling fit FILE.csv --seed 0 --bootstrap 60 --budget 1e+18 2e+19 --baseline unfiltered<" in html
    assert "Does quality move the exponent or the offset?" in html
    assert "<script" not in html
    assert html.count("<figure>") == 6


def test_numbers_of_one_file_and_seed_are_the_same_twice(tmp_path):
    path = written(tmp_path, rows())

    twice = [api.scaling_fit(path, budgets=(1e18,), resamples=50, seed=3) for _ in range(2)]

    assert twice[0] == twice[1]
    assert json.loads(json.dumps(twice[0], allow_nan=False)) == json.loads(json.dumps(twice[1]))
    assert twice[0]["E"] != api.scaling_fit(path, resamples=50, seed=4)["E"]


def test_names_of_arms_are_escaped_on_the_page(tmp_path):
    path = written(tmp_path, rows(("<img src=x onerror=alert(1)>", "b\u202eb")))

    html = render(api.scaling_fit(path, resamples=40, seed=0))

    assert "<img" not in html
    assert "&lt;img" in html
    assert "\u202e" not in html


def test_the_baseline_may_be_named(tmp_path):
    path = written(tmp_path, rows(("curated", "unfiltered")))

    assert read_points(path).arms == ("curated", "unfiltered")
    assert read_points(path, "unfiltered").arms == ("unfiltered", "curated")
    with pytest.raises(SpecError, match=r"has no arm .unfilterd."):
        read_points(path, "unfilterd")


def test_unique_tokens_that_are_empty_or_plenty_mean_that_nothing_repeats(tmp_path):
    lines = rows(header="parameters,tokens,loss,unique_tokens")

    fresh = read_points(written(tmp_path, [lines[0], lines[1] + ",", lines[2] + ",1e15"]))
    repeated = read_points(written(tmp_path, [lines[0], lines[1] + ",", lines[2] + ",1e7"]))

    assert (fresh.unique_N.tolist(), fresh.repeated()) == (fresh.tokens_N.tolist(), False)
    assert (repeated.unique_N.tolist(), repeated.repeated()) == ([1e7, 1e7], True)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda ls: ["parameters,token,loss", *ls[1:]], "line 1 of {path} has no column 'tokens'"),
        (lambda ls: ["parameters;tokens;loss", *ls[1:]], "line 1 of {path} has no column 'parameters'"),
        (lambda ls: ["parameters,tokens,loss,loss", *ls[1:]], "line 1 of {path} has two columns 'loss'; leave one"),
        (lambda ls: [*ls[:3], "1e6,many,3.0"], "line 4 of {path} has tokens 'many', which is not a number"),
        (lambda ls: [*ls[:3], "1e6,,3.0"], "line 4 of {path} has no tokens"),
        (lambda ls: [*ls[:3], "1e6,-5,3.0"], "line 4 of {path} has tokens -5, which must be above 0"),
        (lambda ls: [*ls[:3], "0,5,3.0"], "line 4 of {path} has parameters 0, which must be above 0"),
        (
            lambda ls: [*ls[:3], "1e6,1e7,nan"],
            "line 4 of {path} has loss 'nan'; leave out runs whose loss is not known",
        ),
        (
            lambda ls: [*ls[:3], "1e6,inf,3"],
            "line 4 of {path} has tokens 'inf'; leave out runs whose tokens is not known",
        ),
        (lambda ls: [*ls[:3], "1e6,1e7"], "line 4 of {path} has 2 fields and the header 3"),
        (lambda ls: [*ls[:3], "", '1e6,"1e7,3'], "{path} is not CSV: unexpected end of data"),
        (lambda ls: ls[:1], "{path} has no runs below its header"),
        (lambda _: [], "line 1 of {path} has no column 'parameters'"),
        (lambda ls: ls[:5], "{path} cannot be fitted: 4 runs are too few for five parameters; give at least 6"),
        (lambda ls: [ls[0], *ls[1:6], ls[1]], "{path} cannot be fitted: there is only 1 model size"),
        (lambda ls: [ls[0], *ls[1::5], *ls[1::5]], "{path} cannot be fitted: there is only 1 token count"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence_that_names_its_line(tmp_path, change, sentence):
    path = written(tmp_path, change(rows()))

    with pytest.raises(DataError) as caught:
        api.scaling_fit(path, resamples=0, seed=0)

    assert caught.value.message.startswith(sentence.format(path=path))
    assert "\n" not in caught.value.message


def test_an_arm_with_too_few_runs_is_named(tmp_path):
    path = written(tmp_path, [*rows(("unfiltered", "curated"))[:25]])

    with pytest.raises(DataError, match="cannot be fitted: arm curated: 4 runs are too few for five parameters"):
        api.scaling_fit(path, resamples=0, seed=0)


def test_a_file_that_is_missing_or_no_text_is_refused(tmp_path):
    binary = tmp_path / "runs.csv"
    binary.write_bytes(b"parameters,tokens,loss\n\xff\xfe\x00")

    with pytest.raises(DataError, match=r"cannot read .*none.csv: No such file or directory"):
        api.scaling_fit(tmp_path / "none.csv", seed=0)
    with pytest.raises(DataError, match="is not text in UTF-8; save it as CSV"):
        api.scaling_fit(binary, seed=0)


def test_a_budget_that_is_no_positive_number_is_refused(tmp_path):
    done = scaling(written(tmp_path, rows()), "--budget", "-1")

    assert (done.returncode, done.stderr) == (2, "tamis: a budget of -1 makes no sense; give a positive number\n")
