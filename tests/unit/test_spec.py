"""A spec is data: what is wrong with it is said before anything runs."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from pipelines.plan import plan
from pipelines.spec import from_data, from_text, load, parse_change
from stages.errors import SpecError
from stages.sources.jsonl import Jsonl

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


def path_of(path: str) -> str:
    return from_data({"name": "a", "source": {"kind": "jsonl", "path": path}}, Path("/base")).sources["source"].path


def test_a_relative_path_is_below_the_spec_file(tmp_path):
    (tmp_path / "a.yaml").write_text(GOOD)
    assert load(tmp_path / "a.yaml").sources["source"].path == str(tmp_path / "raw/*.jsonl.gz")


def test_an_s3_path_stays_as_it_is():
    spec = from_data({"name": "a", "source": {"kind": "jsonl", "path": "s3://bucket/raw/*.jsonl.gz"}})
    assert spec.sources["source"].path == "s3://bucket/raw/*.jsonl.gz"


def test_a_tilde_is_the_home_folder():
    assert path_of("~/räw/*.jsonl") == str(Path.home() / "räw/*.jsonl")
    assert path_of("~nobody-of-this-name/a") == "/base/~nobody-of-this-name/a"


def test_a_file_url_is_a_local_path():
    assert path_of("file:///data/日本語.jsonl") == "/data/日本語.jsonl"


@pytest.mark.parametrize("scheme", ["http://", "https://", "secret://", "gs://", "S3://"])
def test_a_path_of_another_scheme_is_refused_without_repeating_what_follows_it(scheme):
    with pytest.raises(SpecError) as caught:
        path_of(scheme + "user:word@host/x")
    assert caught.value.message == (
        f"the source has a path that begins with {scheme!r}; "
        "write a local path or s3://bucket/..., nothing else is read"
    )


@pytest.mark.parametrize("path", ["s3://", "s3:///key"])
def test_an_s3_path_names_a_bucket(path):
    with pytest.raises(SpecError, match="begins with 's3://'; write a local path or s3://bucket"):
        path_of(path)


@pytest.mark.parametrize("path", ["", " \t", "a\0b"])
def test_a_path_that_names_nothing_is_refused(path):
    with pytest.raises(SpecError, match="which names nothing; write a file, a folder or a glob"):
        path_of(path)


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


@pytest.mark.parametrize("keep", [5, "gopher", {"column": "a"}, True])
def test_a_keep_that_is_no_list_is_refused(keep):
    assert wrong(GOOD.replace("keep: []", f"keep: {keep}")).startswith(f"`keep` is {keep!r}, not a list")


@pytest.mark.parametrize("place", ["keep.²", "keep.7", "name.x"])
def test_a_change_of_a_place_that_is_not_there_is_refused(place):
    with pytest.raises(SpecError, match="the spec has no place"):
        from_text(GOOD, Path("/x"), {place: 1})


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


@pytest.mark.parametrize("name", ["verdict", "leaving", "choice-0", "document", "export", "sources", "a/b"])
def test_a_source_name_that_would_hide_a_line_of_the_ledger_is_refused(name):
    with pytest.raises(SpecError, match="impossible name"):
        from_data({"name": "a", "sources": {name: {"kind": "jsonl", "path": "/x"}}})


def test_several_sources_keep_their_names():
    one = {"kind": "jsonl", "path": "/x"}
    assert set(from_data({"name": "a", "sources": {"web": one, "source": one}}).sources) == {"web", "source"}


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        ({"shard_byte": 3}, "unknown field 'shard_byte'; did you mean 'shard_bytes'?"),
        ({"txt": "a"}, "unknown field 'txt'; did you mean 'text'?"),
        ({"kin": "jsonl"}, "unknown field 'kin'; did you mean 'kind'?"),
        ({"kind": "jsonl", "levl": 3}, "unknown field 'levl'; did you mean 'level'?"),
    ],
)
def test_a_misspelt_field_of_write_is_named_with_the_nearest_of_write_or_its_sink(write, sentence):
    with pytest.raises(SpecError) as caught:
        from_data({"name": "a", "source": {"kind": "jsonl", "path": "/x"}, "write": write})
    assert caught.value.message == f"`write` has the {sentence}"


@pytest.mark.parametrize(
    "place", ["source.shard_bytes", "write.shard_bytes", "limits.max_document_memory_bytes", "x.y"]
)
def test_an_integer_beyond_64_bits_is_refused_wherever_it_stands(place):
    with pytest.raises(SpecError, match="the integer 1000000000000000000000000000000 does not fit in 64 bits"):
        from_text(GOOD, Path("/x"), {place: 10**30})


def test_the_largest_sizes_are_those_that_fit_in_64_bits():
    largest = {"source.shard_bytes": 2**63 - 1, "write.shard_bytes": 2**63 - 1}
    spec = from_text(GOOD, Path("/x"), largest)
    assert (spec.sources["source"].shard_bytes, spec.write.shard_bytes) == (2**63 - 1, 2**63 - 1)
    with pytest.raises(ValidationError, match="less than or equal to 9223372036854775807"):
        Jsonl(path="/x", shard_bytes=2**63)


def test_text_that_no_file_could_hold_is_refused():
    with pytest.raises(SpecError, match="not plain data"):
        from_data({"name": "a", "source": {"kind": "jsonl", "path": "/\ud800"}})


def test_a_time_beyond_what_can_be_waited_is_refused():
    assert "max_shard_seconds" in wrong(GOOD + "limits: {max_shard_seconds: 1e300}\n")


def test_source_and_sources_together_are_refused():
    with pytest.raises(SpecError, match="and not both"):
        from_data({"name": "a", "source": {"kind": "jsonl", "path": "/x"}, "sources": {"b": {}}})


def test_equal_requests_have_equal_digests_whatever_the_order_of_their_keys():
    one = from_data({"name": "a", "source": {"kind": "jsonl", "path": "/x"}})
    two = from_data({"source": {"path": "/x", "kind": "jsonl"}, "name": "a"})
    assert plan(one).digest == plan(two).digest
