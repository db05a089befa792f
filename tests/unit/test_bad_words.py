"""Bad words against C4's expression, on real lists and made-up ones."""

import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.bad_words import entries, shipped
from stages.base import measure
from stages.errors import SpecError
from stages.text.bad_words import BadWords

MINE = ["bad", "bad word", "very bad word", "s&m", "🖕", "été", "мат", "wört", "a b", "b a", "x_y", "女の子", "l'a"]


def measured(stage: BadWords, **columns: list[str | None]) -> dict[str, list[Any]]:
    batch = pa.RecordBatch.from_pydict({n.replace("__", "."): pa.array(v, pa.string()) for n, v in columns.items()})
    answer: dict[str, list[Any]] = measure(stage, stage.open(), batch).to_pydict()
    return answer


def found(text: str, words: list[str], *, spaced: bool) -> list[str]:
    """The entries in a text, by a regular expression that tries the longest first."""
    longest = sorted((pc.utf8_lower(pa.scalar(w)).as_py() for w in words), key=lambda w: -len(w.encode()))
    either = "|".join(map(re.escape, longest))
    pattern = rf"(?<!\w)(?:{either})(?!\w)" if spaced else either
    return re.findall(pattern, pc.utf8_lower(pa.scalar(text)).as_py())


@pytest.fixture(scope="module")
def mine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lists") / "mine.txt"
    path.write_text("\n".join([*MINE, "", "  ", MINE[0]]), encoding="utf-8")
    return path


@given(
    st.lists(
        st.sampled_from([*MINE, " ", " ", "-", "_", "a", "B", "É", "女", ".", "BAD", "ly", "1", "\u0301", "\n"]),
        max_size=14,
    )
)
@settings(max_examples=500, deadline=None)
def test_hits_are_those_of_a_regular_expression(mine: Path, parts: list[str]) -> None:
    text = "".join(parts)
    for code in ("en", "ja"):
        answer = measured(BadWords(language=code, lists={code: str(mine)}), text=[text])
        expected = found(text, MINE, spaced=code == "en")

        assert answer["hits"] == [len(expected)]
        assert answer["distinct"] == [len(set(expected))]
        assert answer["first"] == [expected[0] if expected else None]


@pytest.mark.parametrize("code", ["en", "ru", "hi", "ko", "ar", "es", "th", "zh", "tr"])
def test_a_document_has_a_hit_where_c4s_expression_matches_it(code: str) -> None:
    words = entries(code, None)
    assert words is not None
    spaced = code not in ("ja", "th", "zh")
    frames = ["{}", "a {} b", "x{}", "{}y", "({})!", "{} {}", "今{}天", "_{}", "9{}", "„{}“ é"]
    texts = [frame.replace("{}", word.upper() if n % 2 else word) for n, frame in enumerate(frames) for word in words]
    either = "|".join(re.escape(pc.utf8_lower(pa.scalar(w)).as_py()) for w in words)
    theirs = re.compile(rf"(?:\W|^)({either})(?:\W|$)" if spaced else either)

    answer = measured(BadWords(language=code), text=texts)

    lowered = pc.utf8_lower(pa.array(texts)).to_pylist()
    assert [hits > 0 for hits in answer["hits"]] == [theirs.search(text) is not None for text in lowered]


def test_the_language_of_each_document_chooses_its_list() -> None:
    stage = BadWords()

    answer = measured(
        stage,
        text=["arschloch", "arschloch", "asshole", "asshole", "putang ina", "anything", "女の子"],
        lang__code=["de", "en", "en", "de", "tl", "xx", "ja"],
    )

    assert answer["hits"] == [1, 0, 1, 0, 1, None, 0]
    assert answer["fraction"][5] is None


def test_the_share_counts_the_words_of_phrases() -> None:
    answer = measured(BadWords(language="en"), text=["One cup of tea, 2 girls 1 cup.", "🖕", "今天"])

    assert answer["hits"] == [1, 1, 0]
    assert answer["fraction"] == [pytest.approx(4 / 8), None, 0.0]


def test_what_c4_allows_is_on_no_list() -> None:
    assert {"sm", "グロ", "女の子"}.isdisjoint(entries("ja", None) or ())
    assert "性" not in (entries("zh", None) or ())
    assert len(shipped()) == 28


def test_a_language_without_a_list_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(SpecError, match="there is no list of bad words for 'xx'; known: ar, cs, da"):
        BadWords(language="xx").artifacts()


def test_a_file_that_is_missing_or_empty_or_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\x00")

    for name, sentence in (("none", "cannot be read"), ("empty", "has no entry"), ("bytes", "cannot be read")):
        stage = BadWords(language="en", lists={"en": str(tmp_path / f"{name}.txt")})
        with pytest.raises(SpecError, match=sentence):
            measured(stage, text=["word"])


def test_the_content_of_a_list_is_part_of_the_identity_and_its_path_is_not(tmp_path: Path) -> None:
    for name, text in (("a", "one\n"), ("b", "one\n"), ("c", "two\n")):
        (tmp_path / name).write_text(text)
    one, same, other = (BadWords(language="en", lists={"en": str(tmp_path / name)}).identity() for name in "abc")

    assert one == same
    assert one != other
