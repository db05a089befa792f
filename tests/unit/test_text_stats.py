import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.rule_files import load, shipped
from stages.base import RowStage, measure
from stages.catalog import row_stages
from stages.kernels.warm import compile_kinds
from stages.rules import UseRules, bind
from stages.text.c4 import C4
from stages.text.c4_lines import C4Lines
from stages.text.language import Language
from stages.text.repetition import Repetition
from stages.text.text_stats import TextStats

STAGES: list[RowStage] = [
    TextStats(),
    TextStats(words="whitespace"),
    TextStats(words="alphanumeric"),
    Repetition(),
    Repetition(definition="datatrove-0.2"),
    Repetition(words="alphanumeric", definition="dclm"),
    Repetition(words="whitespace", definition="dolma"),
    C4(),
    C4(definition="tfds"),
    C4Lines(),
    C4Lines(definition="dolma", end_marks=False),
]
NAMES = [f"{s.kind}-{'-'.join(map(str, s.parameters().values()))}" for s in STAGES]
TEXTS = st.lists(
    st.one_of(st.none(), st.text(max_size=60), st.text("the cat. \n-…é漢ש😀\u0301", max_size=120)), max_size=8
)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_kinds(("text_stats",))
    for stage in STAGES:
        measured(stage, ["warm"])


def measured(stage: RowStage, texts: list[str | None]) -> pa.RecordBatch:
    return measure(stage, stage.open(), pa.record_batch({"text": pa.array(texts, pa.string())}))


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
@given(texts=TEXTS)
def test_a_row_does_not_depend_on_its_batch(stage, texts):
    whole = measured(stage, texts)
    parts = [measured(stage, [text]) for text in texts]

    assert whole.to_pylist() == [row for part in parts for row in part.to_pylist()]


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
def test_a_slice_of_a_batch_measures_as_its_rows_alone(stage):
    texts = ["not this", "Café society. The cat sat.", None, "漢字。שלום 😀", "", "nor this"]
    batch = pa.record_batch({"text": pa.array(texts)}).slice(1, 4)

    assert measure(stage, stage.open(), batch).equals(measured(stage, texts[1:5]))


@pytest.mark.parametrize("stage", STAGES, ids=NAMES)
def test_no_rows_keep_the_schema(stage):
    assert measured(stage, []).schema.equals(stage.schema())
    assert measured(stage, []).num_rows == 0


@pytest.mark.parametrize("stage", [TextStats, Repetition, C4, C4Lines], ids=lambda cls: cls.__name__)
def test_examples_hold(stage):
    for example in stage.examples:
        one = stage(**(example.fields or {}))
        row = measured(one, [example.given]).to_pylist()[0]

        assert {name: row[name] for name in example.gives} == example.gives


@pytest.mark.parametrize("name", list(shipped()))
def test_rule_files_fit_the_stages_that_they_need(name):
    file = load(name)
    models = {"perplexity": {"model": "artifact:en"}}
    steps = {kind: row_stages()[kind](**fields, **models.get(kind, {})) for kind, fields in file.needs.items()}
    steps["language"] = Language()
    columns = {
        f"{kind}.{f.name}": f.with_name(f"{kind}.{f.name}") for kind, stage in steps.items() for f in stage.schema()
    }

    policy = bind([UseRules(rules=name)], columns, steps, "text", load)

    assert len(policy.plain) == len(file.rules)
    assert len(set(policy.reasons)) == len(file.rules)
    assert all(rule.cite for rule in file.rules)


def test_text_statistics_of_a_small_document_are_these():
    # The cat sat ... - with # 1 dog ! It was the café of 漢字 and I 'm 😀: 20 words, 4 of symbols alone, 14 with a letter
    text = "The cat sat...\n- with #1 dog!\n\nIt was the café of 漢字 and I'm 😀"

    assert measured(TextStats(), [text]).to_pylist() == [
        {
            "bytes": 70,
            "chars": 62,
            "words": 20,
            "non_symbol_words": 16,
            "non_punctuation_words": 16,
            "mean_word_chars": 2.3,
            "median_word_chars": 2.5,
            "longest_word_chars": 4,
            "mean_non_symbol_word_chars": 2.5,
            "mean_non_punctuation_word_chars": 2.5,
            "hashes_per_word": 0.05,
            "ellipses_per_word": 0.05,
            "hashes_and_ellipses_per_word": 0.1,
            "symbol_word_fraction": 0.05,
            "alpha_word_fraction": 0.7,
            "stop_words": 4,
            "stop_word_tokens": 4,
            "lower_stop_word_tokens": 5,
            "lines": 4,
            "bullet_line_fraction": 0.25,
            "wide_bullet_line_fraction": 0.25,
            "unindented_bullet_line_fraction": 0.25,
            "ellipsis_line_fraction": 0.25,
            "ellipsis_char_line_fraction": 0.0,
            "filled_lines": 3,
            "end_mark_line_fraction": 2 / 3,
            "short_line_fraction": 2 / 3,
            "repeated_line_char_fraction": 0.0,
            "newlines_per_word": 0.15,
            "stop_or_quote_line_fraction": 0.5,
            "short_or_empty_line_fraction": 0.75,
        }
    ]
