"""The report of an ablation: what the page says of simulated results, odd ones, hostile names."""

import json
import re
from html.parser import HTMLParser

import pytest
from ablation_results import ARMS, STEPS, result

from pipelines.quantities import NARROW
from pipelines.report.ablation import lead, numbers, render, write_ablation
from pipelines.report.ablation_curves import arms_of, curves, endpoints, multipliers, training_losses
from pipelines.report.ablation_limits import can, cannot, warnings
from pipelines.report.ablation_tables import attribution, comparisons, contamination, cost, domains, on_terms, stages
from pipelines.report.curve_figure import class_of
from pipelines.store import Store

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Text of a page by the id of its section, every tag, and whether tags are closed in order."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.sections, self.title, self.open = [], {}, "", []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        own = dict(attrs)
        self.tags.append((tag, own))
        if tag not in VOID:
            above = self.open[-1][1] if self.open else ""
            self.open.append((tag, own.get("id", above) if tag == "section" else above))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def handle_data(self, data):
        if not self.open or self.open[-1][0] == "style":
            return
        tag, section = self.open[-1]
        if tag == "h1":
            self.title += data
        self.sections[section] = f"{self.sections.get(section, '')} {data}"


@pytest.fixture(scope="module")
def full():
    """Six arms, three of which leave a step out; three seeds, three budgets."""
    return result({**ARMS, **STEPS})


@pytest.fixture(scope="module")
def small():
    """Two arms, two seeds and two budgets, a learning rate that was given."""
    return result({"unfiltered": 1.0, "curated": 1.02}, seeds=2, budgets=(300_000, 600_000), learning_rates=None)


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def test_the_page_begins_with_the_verdict_and_has_a_section_for_everything(full):
    page = Page(render(full))

    verdict = full["evidence"]["verdict"]
    assert page.title.strip().lower() == verdict.lower()
    assert list(page.sections)[1:] == [
        *("tokens", "curves", "domains", "steps", "noise", "overlap", "data", "cost", "limits", "repeat")
    ]
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    assert [own for _, own in page.tags if "src" in own or own.get("href", "#")[0] != "#"] == []


def test_every_arm_seed_and_key_is_on_the_page(full):
    html = render(full)

    for arm in full["arms"]:
        assert html.count(arm["name"]) > 5
    for run in full["endpoints"]:
        assert run["ledger"][:16] in html
    assert full["keys"]["panel"] in html
    assert "Seeds of training: 1, 2, 3; of the statistics: 1, 400 samples." in html


def test_the_numbers_are_json_without_nan_and_hold_the_whole_result(full):
    found = json.loads(json.dumps(numbers(full), allow_nan=False))

    assert found["result"] == json.loads(json.dumps(full))
    assert found["verdict"] == full["evidence"]["verdict"]
    assert [row["arm"] for row in found["cost"]] == arms_of(full)


def test_marks_stand_for_the_multipliers_of_the_evidence(full):
    found = comparisons(full)

    told = {row["arm"]["name"]: (row["multiplier"]["value"], row["state"]) for row in found["rows"]}
    assert told == {
        arm["name"]: (arm["multiplier"]["value"], "gain" if arm["decided"] == "better" else "level")
        for arm in full["evidence"]["arms"]
    }
    assert found["of"] == "multiplier"
    assert 'aria-label="curated, token multiplier: 1.' in found["rows"][0]["mark"]


def test_losses_are_drawn_where_no_arm_has_a_multiplier(small):
    found = comparisons(small)

    assert found["of"] == "loss"
    assert found["rows"][0]["loss"]["value"] == small["evidence"]["arms"][0]["deltas"][-1]["value"]
    assert "difference in bits per byte: -0.0" in found["rows"][0]["mark"]


def test_steps_are_bars_of_what_is_lost_without_them(full):
    found = attribution(full)

    steps = full["evidence"]["attribution"]["steps"]
    assert [(row["step"]["step"], row["delta"]["value"]) for row in found["rows"]] == [
        (step["step"], step["delta"]["value"]) for step in steps
    ]
    assert all('class="amount"' in row["mark"] for row in found["rows"])


def test_stages_share_the_gain_of_the_whole(full):
    shared = {
        "steps": [
            {"step": "stats", **estimate(0.01, 0.004, 0.016)},
            {"step": "copies", **estimate(-0.002, -0.004, -0.001)},
        ],
        "total": estimate(0.008, -0.001, 0.017),
        "exact": False,
        "trained": 3,
        "left_out_error": 0.0012,
        "sentence": "3 of 4 pipelines were trained",
    }

    found = stages({**full, "stages": shared})

    assert [(row["step"], row["state"]) for row in found["rows"]] == [
        ("stats", "gain"),
        ("copies", "loss"),
        ("all of them", "level"),
    ]
    said = re.sub(r"\s+", " ", Page(render({**full, "stages": shared})).sections["steps"])
    assert "3 of 4 pipelines were trained. Estimates of pipelines left out were 0.0012 bits per byte off." in said
    assert stages(full) is None


def test_the_first_arms_are_drawn_and_all_are_in_the_tables():
    many = result({"unfiltered": 1.0, **{f"arm {k}": 1.0 + k / 20 for k in range(1, 11)}}, seeds=2)

    assert [len(curve.series) for curve, _ in curves(many)] == [8, 7, 8, 1]
    assert len({class_of(curves(many)[0][0], k) for k in range(8)}) == 8
    page = Page(render(many))
    assert "The first 8 arms; the tables have all 11." in page.sections["curves"]
    assert "arm 10" in page.sections["tokens"]


def test_domains_tell_the_baseline_and_every_difference(full):
    found = domains(full)
    rows = found["rows"]

    runs = [e for e in full["endpoints"] if e["arm"] == "unfiltered" and e["budget"] == 4_000_000]
    for row in rows:
        assert row["baseline"] == pytest.approx(sum(e["domains"][row["domain"]] for e in runs) / 3)
        assert len(row["arms"]) == 5
    assert {row["arms"][0]["state"] for row in rows} == {"gain"}
    first = rows[0]["arms"][0]
    evidence = full["evidence"]["arms"][0]["domains"][0]
    assert (first["arm"], first["delta"], first["multiplier"]) == ("curated", evidence["delta"], evidence["multiplier"])
    assert 'aria-label="curated, domain 1, difference in bits per byte: -0.0' in first["mark"]


def test_losses_are_told_on_other_terms_where_they_are_known(full):
    changed = json.loads(json.dumps(full))
    known = {"equal": "pool", "baseline_tokens": 4e6, "arm_tokens": 217e3, "delta": estimate(0.189, 0.147, 0.232)}
    changed["evidence"]["arms"][0]["estimands"][1] = {**known, "extrapolated": True, "reason": None}

    assert on_terms(full) == []
    assert [row["name"] for row in on_terms(changed)] == ["curated"]
    said = re.sub(r"\s+", " ", Page(render(changed)).sections["tokens"])
    assert "+0.189 0.147 to 0.232 after 217 k tokens, extrapolated" in said


def test_an_arm_that_random_documents_may_equal_is_not_believed_unwarned(full):
    unproved = json.loads(json.dumps(full))
    unproved["evidence"]["arms"][0]["versus_control"]["decided"] = None

    (overlap,) = warnings(full)
    assert overlap.startswith("Arms share text with documents of the panel")
    said, same = warnings(unproved)
    assert same == overlap
    assert said.startswith("curated: better than unfiltered, but not shown to be better than random, as many tokens")


def test_what_the_audit_cannot_find_and_where_it_found_is_told(full):
    changed = json.loads(json.dumps(full))
    for arm in changed["arms"]:
        arm["contamination"] |= {"unfindable_panel_documents": 52, "panel_documents_hit_by_domain": {"manuals": 19}}

    said = re.sub(r"\s+", " ", Page(render(changed)).sections["overlap"])

    assert "52 of those have too few words for that" in said
    assert "manuals 19" in said


def test_contamination_is_told_with_the_result_with_and_without_it(full):
    rows = {row["arm"]["name"]: row for row in contamination(full)}

    assert rows["unfiltered"]["with"] is None
    assert rows["curated"]["found"]["panel_documents_hit"] == 2
    clean = next(a for a in full["evidence_clean"]["arms"] if a["name"] == "curated")
    assert rows["curated"]["without"]["value"] == clean["multiplier"]["value"]
    assert "238 are left" in re.sub(r"\s+", " ", render(full))


def test_cost_is_curation_and_all_training_of_an_arm_with_its_trunks_once(full):
    row = {row["arm"]: row for row in cost(full)}["curated"]

    assert row == {
        "arm": "curated",
        "curation_cpu_seconds": 84.2,
        "selection_cpu_seconds": None,
        "training_cpu_seconds": pytest.approx(3 * (0.1 * 7e6 + 0.9 * 4e6) / 6000),
        "total_cpu_seconds": pytest.approx(84.2 + 2150),
        "flops": pytest.approx(6 * 1.8e6 * 3 * 7e6),
        "runs": 9,
    }


def test_curves_have_bands_over_seeds_and_one_colour_for_an_arm(full):
    ends, growth = endpoints(full), multipliers(full)

    x, y, low, high = ends.series[1].points[0]
    runs = [e["bits_per_byte"] for e in full["endpoints"] if e["arm"] == "curated" and e["budget"] == 1_000_000]
    assert (x, y, low, high) == (1e6, pytest.approx(sum(runs) / 3), min(runs), max(runs))
    colours = {s.name: class_of(ends, k) for k, s in enumerate(ends.series)}
    assert {s.name: class_of(growth, k) for k, s in enumerate(growth.series)} == {
        name: colour for name, colour in colours.items() if name != "unfiltered"
    }
    assert colours["random"] == "control"
    assert [curve.title for curve, _ in curves(full)] == [
        "Loss on the held-out panel",
        "Token multiplier in compute",
        "Loss in training",
        "Learning-rate bracket",
    ]


def test_training_losses_are_read_where_all_seeds_were(full):
    changed = {
        **full,
        "curves": [
            {"arm": "unfiltered", "seed": s, "tokens": [10, 20, 40], "nats_per_token": y}
            for s, y in ((1, [3, 2, 1]), (2, [5, None, 3]))
        ],
    }

    points = training_losses(changed).series[0].points

    assert points[0] == pytest.approx((10, 4, 3, 5))
    assert points[-1] == pytest.approx((40, 2, 1, 3))
    assert all(low <= y <= high for _, y, low, high in points)


def test_a_small_run_says_what_it_cannot_show(small):
    said = "\n".join(cannot(small))

    assert f"models of 1.8{NARROW}M parameters do not rank data" in said
    assert "0.33 tokens a parameter" in said
    assert "with 2 seeds the noise of seeds is hardly measured" in said
    assert "that takes three budgets, and this had 2" in said
    assert "no arm saw a document twice" in said
    assert warnings(small) == [
        "The learning rate was given and not bracketed: a difference between arms may be one of how well it suits them.",
        f"Arms share text with documents of the panel: curated 0.8{NARROW}%. See the result without them.",
    ]


def test_an_audit_without_a_hit_is_no_warning(full):
    clean = json.loads(json.dumps(full))
    for arm in clean["arms"]:
        arm["contamination"]["panel_documents_hit"] = 0

    assert warnings(clean) == []


def test_that_arms_share_a_rate_that_suits_the_baseline_is_told_where_it_was_bracketed(full, small):
    assert ["bracketed on the baseline" in s for f in (full, small) for s in cannot(f)].count(True) == 1


def test_the_least_difference_that_would_be_found_is_told(full):
    least = full["evidence"]["noise"]["detectable_percent_tokens"]

    assert can(full)[0].startswith(f"Data worth {least:.3g} % more tokens or better, which 3 seeds")
    assert "Which steps of the pipeline carry the difference" in can(full)[-1]


def test_a_run_that_can_only_show_gross_differences_says_so(full):
    noisy = json.loads(json.dumps(full))
    noisy["evidence"]["noise"]["detectable_percent_tokens"] = 1528.0

    assert can(noisy)[0].startswith(
        "Gross differences alone: data worth 16.3 times the tokens or better, which 3 seeds would find"
    )


def test_a_multiplier_that_nothing_bounds_is_not_on_the_curve(full):
    loose = json.loads(json.dumps(full))
    for point in loose["evidence"]["arms"][0]["curve"]:
        point.update(low=None, high=None)

    curve, whole = multipliers(loose), multipliers(full)
    assert [s.name for s in curve.series] == [a["name"] for a in full["evidence"]["arms"][1:]]
    assert [class_of(curve, k) for k in range(4)] == [class_of(whole, k) for k in range(1, 5)]


def test_what_went_wrong_is_told_before_the_verdict_is_believed(full):
    broken = json.loads(json.dumps(full))
    broken["endpoints"][0].update(diverged="the loss was NaN at step 12", bits_per_byte=None)
    del broken["endpoints"][-1]
    broken["learning_rates"]["edge"] = True
    broken["arms"][1].update(rewrites_text=True, epochs=[3.0, 6.0, 12.0])
    for number, arm in enumerate(broken["arms"]):
        arm["contamination"]["panel_documents_hit"] = 24 if number == 2 else 0
    broken["stopped"] = "every comparison was decided after 2,000,000 tokens"

    said = warnings(broken)

    edge = (
        "The learning rate 0.008 is the edge of those tried, so a better one may lie beyond and differences between arms "
        "may be of the learning rate."
    )
    assert said == [
        f"1 run diverged and is left out: unfiltered, seed 1, 1{NARROW}M tokens (the loss was NaN at step 12).",
        "1 run of 54 missing, so pairs are fewer.",
        edge,
        "curated: not only other documents but other text, tokenized on its own.",
        "curated: more than 4 epochs of its text, of which repeats teach less than fresh text.",
        f"Arms share text with documents of the panel: random 10.0{NARROW}%. See the result without them.",
        "Stopped early: every comparison was decided after 2,000,000 tokens.",
    ]
    page = Page(render(broken))
    assert "diverged: the loss was NaN at step 12" in page.sections["repeat"]
    assert "Before you trust it, 7 warnings" in page.sections[""]


def test_one_arm_alone_is_a_page_too():
    page = Page(render(result({"unfiltered": 1.0}, evidence_clean=None)))

    assert "There is one arm, and nothing to compare it with." in page.sections["tokens"]


def test_unknown_numbers_are_dashes(small):
    bare = json.loads(json.dumps(small))
    bare["curves"] = []
    bare["evidence"]["same_arms"] = None
    bare["evidence"]["noise"]["seed_sd_bits_per_byte"] = None
    for run in bare["endpoints"]:
        run.update(
            bits_per_byte=None, bits_per_byte_clean=None, domains=dict.fromkeys(run["domains"]), cpu_seconds=None
        )
    bare["arms"][1]["curation_cpu_seconds"] = None

    page = Page(render(bare))

    assert "curves" not in page.sections
    assert "None" not in " ".join(page.sections.values())


def test_names_of_others_are_text_on_the_page(full):
    hostile = "<img src=x onerror=alert(1)>\u202e"
    text = json.dumps(full, ensure_ascii=False).replace('"curated"', json.dumps(hostile))
    html = render(json.loads(text))

    assert "<img" not in html
    assert "\u202e" not in html
    assert "⟨U+202E⟩" in html


def test_a_report_is_written_once_beside_its_result(tmp_path, small):
    store = Store.open(tmp_path / "store", create=True)

    paths = write_ablation(store, "ablations/mine/", small)
    again = write_ablation(store, "ablations/mine", {**small, "run": "another"})

    assert paths == again == {name: f"ablations/mine/{name}" for name in ("report.html", "report.json")}
    assert store.get(paths["report.html"]).decode() == render(small)
    assert store.get_json(paths["report.json"]) == json.loads(json.dumps(numbers(small)))


def test_the_lead_says_what_was_trained_and_measured(full):
    assert lead(full).startswith(
        f"6 arms, 3 seeds and budgets of 1{NARROW}M, 2{NARROW}M and 4{NARROW}M tokens, each a fully decayed run of a decoder "
        f"with 1.8{NARROW}M parameters; measured on 240 held-out documents"
    )
    assert lead(full).endswith("of 4 domains that no arm trained on; arms have equal trained tokens.")
