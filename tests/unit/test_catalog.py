"""Every stage there is, and what people are told who misspell one."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from stages.base import CorpusStage, RowStage, Sink
from stages.catalog import catalog, corpus_stages, did_you_mean, explain, kind_of, parse, row_stages
from stages.corpus.exact_duplicates import ExactDuplicates
from stages.errors import SpecError
from stages.sources.base import Source
from stages.text.language import Language
from stages.text.normalize import Normalize

PLUGIN = '''
from typing import ClassVar, Literal
import pyarrow as pa
import pyarrow.compute as pc
from stages.base import RowStage, column

class {name}(RowStage):
    """Length of the text."""
    kind: Literal["{kind}"] = "{kind}"
    writes: ClassVar = pa.schema([column("chars", pa.int32(), "characters")])
    def open(self):
        return lambda batch: {{"chars": pc.utf8_length(batch[self.text])}}
'''


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """A folder of installed distributions for another Python process."""
    (tmp_path / "plug-1.0.dist-info").mkdir()
    (tmp_path / "plug-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plug\nVersion: 1.0\n")
    (tmp_path / "plug-1.0.dist-info" / "entry_points.txt").write_text("[tamis.stages]\nx = plug:Plug\n")
    return tmp_path


def kinds_with(site: Path) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.append({str(site)!r}); from stages.catalog import catalog; print(*catalog())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_stages_are_found_because_their_files_are_there() -> None:
    assert row_stages()["normalize"] is Normalize
    assert corpus_stages()["exact_duplicates"] is ExactDuplicates
    assert list(catalog()) == sorted(catalog())
    for name, cls in catalog().items():
        role, _, kind = name.rpartition(":")
        assert kind == kind_of(cls)
        assert issubclass(cls, {"source": Source, "sink": Sink, "": RowStage | CorpusStage}[role])


def test_a_step_is_parsed_from_its_fields() -> None:
    step = parse({"kind": "language", "text": "clean.text", "max_chars": 500}, "step", "step 'lang'")

    assert step == Language(text="clean.text", max_chars=500)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "langage"}, "step 'lang' has the unknown kind 'langage'; did you mean 'language'?"),
        (
            {"kind": "language", "max_char": 1},
            "step 'lang' has the unknown field 'max_char'; did you mean 'max_chars'?",
        ),
        (
            {"kind": "language", "max_chars": 0},
            "step 'lang' has a wrong 'max_chars': input should be greater than or equal to 1 (given: 0)",
        ),
    ],
)
def test_mistakes_are_told_with_the_nearest_name(fields: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(fields, "step", "step 'lang'")

    assert str(caught.value) == message
    assert caught.value.fields["where"] == "step 'lang'"


def test_a_kind_of_another_role_is_unknown() -> None:
    with pytest.raises(SpecError, match="unknown kind 'jsonl'"):
        parse({"kind": "jsonl"}, "step", "step 'x'")
    with pytest.raises(SpecError, match="unknown kind 'language'"):
        parse({"kind": "language"}, "source", "the source")


def test_a_kind_that_is_missing_or_no_text_is_unknown() -> None:
    for kind in (None, 3, ["language"]):
        with pytest.raises(SpecError, match="unknown kind"):
            parse({"kind": kind}, "step", "step 'x'")


def test_few_known_words_are_listed_where_none_is_near() -> None:
    assert did_you_mean("zzz", ["b", "a"]) == "; known: a, b"
    assert did_you_mean("zzz", []) == ""


def test_a_known_word_is_listed_once_and_at_most_a_dozen_are() -> None:
    assert did_you_mean("zzz", ["e", "d", "e", "e"]) == "; known: d, e"
    assert did_you_mean("zzz", [f"{i:02}" for i in range(12)]).endswith("09, 10, 11")
    assert did_you_mean("zzz", [f"{i:02}" for i in range(14)]).endswith("09, 10, 11 and 2 more")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ValidationError) as caught:
        Source.model_validate({"kind": "x"})

    assert explain(caught.value, Source, "the source") == "the source lacks the field 'path'; add it"


def test_a_stage_of_another_distribution_is_found(site: Path) -> None:
    (site / "plug.py").write_text(PLUGIN.format(name="Plug", kind="plug"))

    assert "plug" in kinds_with(site).stdout.split()


def test_a_foreign_stage_may_not_take_a_known_kind(site: Path) -> None:
    (site / "plug.py").write_text(PLUGIN.format(name="Plug", kind="language"))

    assert "'plug:Plug' reuses the kind 'language'; rename its kind" in kinds_with(site).stderr


def test_a_foreign_entry_point_must_be_a_stage(site: Path) -> None:
    (site / "plug.py").write_text("Plug = 3\n")

    assert "'plug:Plug' in tamis.stages is not a stage" in kinds_with(site).stderr
