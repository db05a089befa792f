"""What pages are made of, without a server: texts of specs, places of errors, rates, parts drawn from data."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.service.history import PROGRESS, Event
from pipelines.service.pages.pace import paces
from pipelines.service.pages.rendering import environment
from pipelines.service.pages.written import as_yaml, line_of, read_spec

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
numberlike = st.sampled_from(["1e5", "0o17", "1_000", "1:30", "no", "~", "", "0x1f", "+.5", "null", "-", "#", "a: b"])
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts | numberlike
)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts | numberlike, v, max_size=3), max_leaves=8
)


@given(st.dictionaries(texts | numberlike, values, max_size=4))
def test_a_spec_written_for_the_editor_reads_as_the_same_spec(spec):
    assert read_spec(as_yaml(spec)) == spec


def test_json_with_tabs_is_a_spec_too():
    assert read_spec('{\n\t"name": "x"\n}') == {"name": "x"}


def test_an_error_is_found_at_its_line():
    text = "name: x\nmeasure:\n  a: {kind: b}\nkeep:\n- {column: a.c, ge: 1}\n"
    assert line_of(text, {"title": "the key is given twice (line 3)"}) == 3
    assert line_of(text, {"title": "step 'a' has the unknown kind 'b'", "step": "a"}) == 3
    assert line_of(text, {"title": "no step writes it", "column": "a.c"}) in (3, 5)
    assert line_of(text, {"title": "nothing of this"}) is None


def told(number, at, step, done, total, nbytes, attempt=1):
    data = {"step": step, "done": done, "total": total, "bytes": nbytes}
    return Event(number, at, PROGRESS, attempt, data)


def test_rate_and_time_left_come_from_what_this_attempt_did():
    events = [
        told(1, 0.0, "stats", 3, 10, 300),
        told(2, 100.0, "stats", 4, 10, 400, 2),
        told(3, 110.0, "stats", 6, 10, 600, 2),
    ]
    found = paces(events, 2, now=115.0)["stats"]
    assert (found.done, found.bytes_per_second, found.seconds_left) == (6, 20.0, 15.0)
    assert paces(events, 3, now=115.0) == {}


def test_time_left_never_falls_below_nothing():
    events = [told(1, 0.0, "stats", 0, 2, 0), told(2, 1.0, "stats", 1, 2, 10)]
    assert paces(events, 1, now=60.0)["stats"].seconds_left == 0


def test_a_preview_shows_hostile_documents_as_text():
    document = {
        "doc_id": "0" * 32,
        "id": "<b>",
        "fate": "rejected",
        "reasons": ["<i>"],
        "values": {"stats.words": 3, "<u>": None},
        "text": "</pre><script>alert(1)</script>\u202e",
    }
    total = {"documents_in": 1, "exported": 0, "rejected": 1, "quarantined": 0}
    preview = {"total": total, "reasons": {"<i>": 1}, "documents": [document, {**document, "text": None, "id": None}]}
    drawn = environment().get_template("part_tried.html.j2").render(problem=None, plan=None, preview=preview)
    for wrong in ("<script", "<b>&", "<i>", "<u>", "\u202e"):
        assert wrong not in drawn
    assert "⟨U+202E⟩" in drawn
    assert "no text" in drawn
