"""A spec is data: what is wrong with it is said before anything runs."""

from pathlib import Path

import pytest

from pipelines.spec import from_data, from_text, load, parse_change
from stages.errors import SpecError

GOOD = """
name: web-en
source: {kind: jsonl, path: raw/*.jsonl.gz}
measure:
  clean: {kind: normalize}
keep: []
"""


def wrong(text: str, folder: Path = Path("/nowhere")) -> str:
    with pytest.raises(SpecError) as caught:
        from_text(text, folder)
    return caught.value.message


def test_a_relative_path_is_below_the_spec_file(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    assert load(tmp_path / "a.yaml").sources["source"].path == str(tmp_path / "raw/*.jsonl.gz")


def test_an_s3_path_stays_as_it_is():
    spec = from_data({"name": "a", "source": {"kind": "jsonl", "path": "s3://bucket/raw/*.jsonl.gz"}})
    assert spec.sources["source"].path == "s3://bucket/raw/*.jsonl.gz"


def test_nothing_to_measure_and_nothing_to_keep_is_a_valid_spec():
    spec = from_data({"name": "a", "source": {"kind": "jsonl", "path": "/x"}, "measure": {}, "keep": []})
    assert (dict(spec.measure), spec.keep, spec.write.kind) == ({}, (), "parquet")


def test_an_unknown_section_is_named_with_the_nearest_known_one():
    assert wrong(GOOD + "mesure: {}\n") == "the spec has the unknown section 'mesure'; did you mean 'measure'?"


def test_an_unknown_kind_is_named_with_the_nearest_known_one():
    message = wrong(GOOD.replace("normalize", "normalise"))
    assert message == "step 'clean' has the unknown kind 'normalise'; did you mean 'normalize'?"


def test_an_unknown_field_is_named_with_the_nearest_known_one():
    message = wrong(GOOD.replace("{kind: normalize}", "{kind: normalize, ftfyy: true}"))
    assert message == "step 'clean' has the unknown field 'ftfyy'; did you mean 'ftfy'?"


def test_a_key_given_twice_is_refused():
    assert "'name' is given twice" in wrong(GOOD + "name: again\n")


def test_an_alias_is_refused():
    assert "aliases" in wrong("name: &a x\nsource: {kind: jsonl, path: *a}\n")


def test_a_spec_nested_ten_thousand_deep_is_refused():
    assert "nested" in wrong("name: x\nsource: " + "[" * 10_000 + "]" * 10_000)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("{{ n }}", "a key must be plain text (line 1)"),
        ("{[a]: 1}", "a key must be plain text (line 1)"),
        ("!!int abc", "'abc' is no valid int (line 1)"),
        ("!!int ''", "'' is no valid int (line 1)"),
        ("!!float 日", "'日' is no valid float (line 1)"),
        ("!!bool maybe", "'maybe' is no valid bool (line 1)"),
        ("!!timestamp 2001-13-45", "the tag 'tag:yaml.org,2002:timestamp' is not allowed"),
        ("!!map [1]", "!!map stands before what is no mapping"),
        ("9" * 5000, "'" + "9" * 40 + "…' is no valid int (line 1)"),
        ("1e999", "'1e999' is no valid float (line 1)"),
        (r'"\ud800"', r"'\ud800' is no valid str (line 1)"),
        (r'"\UFFFFFFFF"', "Python int too large"),
        ("*a", "aliases (*name) are not allowed"),
    ],
)
def test_text_that_is_no_plain_data_is_refused_with_its_place(value, reason):
    assert wrong(f"name: {value}\n").startswith(f"the spec cannot be read as YAML: {reason}")
    with pytest.raises(SpecError) as caught:
        parse_change(f"name={value}")
    assert caught.value.message.startswith(f"the value of --set name cannot be read as YAML: {reason}")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0b_", "0b_"),
        ("1:30", "1:30"),
        ("2001-12-14", "2001-12-14"),
        ("=", "="),
        ("-", [None]),
        ("010", 10),
        ("0x1F", 31),
        ("32_000_000", 32_000_000),
        ("-1.5e3", -1500.0),
        (".5", 0.5),
        ("~", None),
        ("{1: a, true: b, no: עברית}", {"1": "a", "true": "b", "no": "עברית"}),
    ],
)
def test_scalars_are_those_of_yaml_1_2_with_underscores_between_digits(text, value):
    assert parse_change(f"x={text}") == ("x", value)


def test_no_is_the_norwegian_language():
    spec = from_text(
        GOOD.replace("keep: []", "keep:\n  - {column: lang, eq: no, on_null: drop, reason: r}"), Path("/x")
    )
    assert spec.keep[0].eq == "no"


def test_a_number_with_an_exponent_is_a_number():
    assert parse_change("limits.max_quarantine=1e-3") == ("limits.max_quarantine", 0.001)


def test_a_change_reaches_into_lists_and_sections_that_are_not_there():
    spec = from_text(GOOD, Path("/x"), {"source.shard_bytes": 3_000_000, "limits.max_drop": 0.5})
    assert (spec.sources["source"].shard_bytes, spec.limits.max_drop) == (3_000_000, 0.5)


def test_a_change_without_a_value_is_refused():
    with pytest.raises(SpecError, match="is not path=value"):
        parse_change("source.shard_bytes")


@pytest.mark.parametrize("name", ["", "../up", "a b", "-x", "x" * 101, 7, None])
def test_a_name_that_is_no_file_name_is_refused(name):
    with pytest.raises(SpecError, match="the spec's name is"):
        from_data({"name": name, "source": {"kind": "jsonl", "path": "/x"}})


@pytest.mark.parametrize("step", ["verdict", "leaving", "source", "choice-0", "a.b", "a/b"])
def test_a_step_name_that_would_hide_another_column_is_refused(step):
    with pytest.raises(SpecError, match="impossible name"):
        from_data({"name": "a", "source": {"kind": "jsonl", "path": "/x"}, "measure": {step: {"kind": "normalize"}}})


def test_source_and_sources_together_are_refused():
    with pytest.raises(SpecError, match="and not both"):
        from_data({"name": "a", "source": {"kind": "jsonl", "path": "/x"}, "sources": {"b": {}}})


def test_equal_requests_have_equal_digests_whatever_the_order_of_their_keys():
    one = from_data({"name": "a", "source": {"kind": "jsonl", "path": "/x"}})
    two = from_data({"source": {"path": "/x", "kind": "jsonl"}, "name": "a"})
    assert one.digest() == two.digest()
