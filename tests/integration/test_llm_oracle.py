"""A language model as an oracle, against a real server on loopback: what is believed, kept, retried, paid and refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from chat_server import Chat, says, serving

from pipelines.labelling.llm_oracle import LlmOracle, read_label
from pipelines.labelling.oracle import Question
from pipelines.labelling.profile import Profile, load_profile
from pipelines.store import Store
from stages.errors import DataError, SpecError, StorageError

PROMPT = "Is this {labels}?\n{text}"


def profile(chat: Chat | None = None, **fields: Any) -> Profile:
    url = chat.url if chat else "http://127.0.0.1:9/v1"
    own = {"base_url": url, "model": "m", "prompt": PROMPT, "labels": ("high", "low"), "backoff_seconds": 0.001}
    return Profile(**{**own, **fields})


def questions(*texts: str) -> list[Question]:
    return [Question(f"{i:032x}", None, text) for i, text in enumerate(texts)]


def answers(store: Store) -> list[dict[str, Any]]:
    return [store.get_json(p) for p in store.list("labels/answers") if "/unanswered/" not in p]


def test_it_asks_in_the_open_protocol_and_reads_a_label(store, monkeypatch):
    monkeypatch.setenv("THE_KEY", "hidden")
    with serving(lambda text, n: says(" High. ")) as chat:
        oracle = LlmOracle(profile(chat, api_key="secret://THE_KEY", system="Be brief."), store)
        batch = oracle.ask(questions("Ein 篩 🌾 المنخل"))

    assert batch.labels == {f"{0:032x}": "high"}
    assert chat.asked == [
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Is this high, low?\nEin 篩 🌾 المنخل"},
            ],
            "temperature": 0.0,
            "max_tokens": 16,
            "path": "/v1/chat/completions",
        }
    ]
    assert chat.headers[0]["Authorization"] == "Bearer hidden"
    assert "hidden" not in "".join(p.read_text() for p in Path(store.url).rglob("*.json"))


def test_a_paid_answer_is_never_asked_for_twice(store):
    with serving(lambda text, n: says("low")) as chat:
        first = LlmOracle(profile(chat), store).ask(questions("a", "b", "a"))
        again = LlmOracle(profile(chat, concurrency=4), Store.open(store.url)).ask(questions("a", "b", "c"))
        LlmOracle(profile(chat, model="other"), store).ask(questions("a"))

    assert chat.texts == [f"Is this high, low?\n{t}" for t in ("a", "b", "c", "a")]
    assert (len(first.labels), len(again.labels)) == (3, 3)


@pytest.mark.parametrize(
    ("content", "fields", "reason"),
    [
        ("banana", {}, "nonsense"),
        ("high or low", {}, "nonsense"),
        ("It is not high", {}, "nonsense"),
        ("", {}, "nonsense"),
        (None, {}, "nonsense"),
        ("I'm sorry, but I can't help with that.", {}, "refused"),
        (None, {"refusal": "no"}, "refused"),
        ("high", {"finish_reason": "content_filter"}, "refused"),
    ],
)
def test_what_is_no_label_is_skipped_by_name_and_never_guessed(store, content, fields, reason):
    with serving(lambda text, n: says(content, **fields)) as chat:
        oracle = LlmOracle(profile(chat), store)
        batch = oracle.ask(questions("a"))
        assert LlmOracle(profile(chat), store).ask(questions("a")) == batch

    assert (batch.labels, batch.skipped) == ({}, {f"{0:032x}": reason})
    assert len(chat.asked) == 1, "it was paid for, so it is kept and not asked for again"


@pytest.mark.parametrize("trouble", [429, 500, 503])
def test_an_overloaded_endpoint_is_asked_again(store, trouble):
    def answer(text: str, number: int) -> Any:
        return (trouble, {"error": "wait"}, {"retry-after": "0"}) if number < 2 else says("high")

    with serving(answer) as chat:
        batch = LlmOracle(profile(chat), store).ask(questions("a"))

    assert (list(batch.labels.values()), len(chat.asked)) == (["high"], 3)


def test_malformed_json_is_asked_again_and_then_skipped(store):
    def answer(text: str, number: int) -> Any:
        bodies = ["{", "[]", '{"choices": []}', '{"choices": [{"message": {"content": 7}}]}']
        return (200, bodies[number % 4], {}) if text.endswith("bad") else says("low")

    with serving(answer) as chat:
        batch = LlmOracle(profile(chat, retries=3), store).ask(questions("bad", "good"))

    assert batch.skipped == {f"{0:032x}": "malformed"}
    assert batch.labels == {f"{1:032x}": "low"}
    assert len(chat.asked) == 5


def test_an_answer_that_does_not_come_in_time_skips_its_document_alone(store):
    def answer(text: str, number: int) -> Any:
        return "hang" if text.endswith("slow") else says("low")

    with serving(answer) as chat:
        batch = LlmOracle(profile(chat, timeout_seconds=0.2, retries=1), store).ask(questions("slow", "quick"))

    assert (batch.skipped, batch.labels) == ({f"{0:032x}": "timeout"}, {f"{1:032x}": "low"})
    assert len(chat.asked) == 3


def test_a_question_that_is_rejected_skips_its_document_at_once(store):
    def answer(text: str, number: int) -> Any:
        return (400, {"error": "too long"}, {}) if text.endswith("long") else says("low")

    with serving(answer) as chat:
        batch = LlmOracle(profile(chat), store).ask(questions("long", "short"))

    assert (batch.skipped, len(chat.asked)) == ({f"{0:032x}": "rejected"}, 2)


@pytest.mark.parametrize(
    ("status", "said"), [(401, "the key is missing"), (404, "check base_url"), (302, "redirection")]
)
def test_what_no_other_try_can_mend_stops_at_once(store, status, said):
    with serving(lambda text, n: (status, {}, {})) as chat, pytest.raises(SpecError, match=said):
        LlmOracle(profile(chat), store).ask(questions("a", "b"))

    assert len(chat.asked) == 1


def test_an_endpoint_that_is_down_stops_and_keeps_what_came(store):
    def answer(text: str, number: int) -> Any:
        return says("low") if number < 2 else (503, {}, {})

    with (
        serving(answer) as chat,
        pytest.raises(StorageError, match=r"5 documents in a row.* the labels so far are kept"),
    ):
        LlmOracle(profile(chat, retries=0), store).ask(questions(*"abcdefghijk"))

    assert len(chat.asked) == 7
    assert [a["content"] for a in answers(store)] == ["low", "low"]


def test_nobody_listening_is_an_error_that_says_where(store):
    with pytest.raises(StorageError, match=r"127\.0\.0\.1:9/v1 did not answer.* could not be reached"):
        LlmOracle(profile(retries=0), store).ask(questions(*"abcdef"))


def test_answers_without_one_label_among_them_stop_the_spending(store):
    with serving(lambda text, n: says("dunno")) as chat, pytest.raises(DataError, match="mend the profile's prompt"):
        LlmOracle(profile(chat), store).ask(questions(*"abcdefghij"))


PRICED = {"input_price": 0.001, "output_price": 0.01}


def test_it_stops_before_the_spending_cap_is_exceeded(store):
    """A question may cost 97 tokens * 0.001 + 16 * 0.01 at most, tried once; the answers say 10 and 1 tokens."""
    with serving(lambda text, n: says("low")) as chat:
        limit = {**PRICED, "max_spend": 0.35, "retries": 0}
        oracle = LlmOracle(profile(chat, **limit), store)
        batch = oracle.ask(questions(*"abcdefghijklmnop"))
        known = len(batch.labels)

        assert batch.stop == "spending cap"
        assert 0 < known == len(chat.asked) < 16
        assert oracle.facts()["spent"] == pytest.approx(0.02 * known)
        most = 0.02 * known + oracle.most(json.dumps(profile(chat).messages("a")))
        assert most > 0.35 >= 0.02 * known, "one more question could have exceeded it"

        again = LlmOracle(profile(chat, **limit), store).ask(questions(*"abcdefghijklmnop"))
        assert (again.labels, len(chat.asked)) == (batch.labels, known), "a restart forgets no money that was spent"
        more = LlmOracle(profile(chat, **{**limit, "max_spend": 2.0}), store).ask(questions(*"abcdefghijklmnop"))
        assert (len(more.labels), more.stop, len(chat.asked)) == (16, None, 16)


def test_threads_never_exceed_the_cap_together(store):
    with serving(lambda text, n: says("low", usage={"prompt_tokens": 97, "completion_tokens": 16})) as chat:
        oracle = LlmOracle(profile(chat, **PRICED, max_spend=1.0, retries=0, concurrency=8), store)
        batch = oracle.ask(questions(*(str(i) for i in range(40))))

    assert batch.stop == "spending cap"
    assert 0 < oracle.facts()["spent"] <= 1.0


def test_what_may_have_been_charged_counts_against_the_cap(store):
    with serving(lambda text, n: "hang") as chat:
        oracle = LlmOracle(profile(chat, **PRICED, max_spend=0.3, retries=0, timeout_seconds=0.05), store)
        batch = oracle.ask(questions("a", "b"))

    assert (batch.stop, batch.skipped) == ("spending cap", {f"{0:032x}": "timeout"})
    assert oracle.facts()["spent"] > 0.2


def test_an_answer_without_usage_costs_the_most_it_can(store):
    with serving(lambda text, n: says("low", usage=None)) as chat:
        oracle = LlmOracle(profile(chat, **PRICED), store)
        oracle.ask(questions("a"))

    assert oracle.facts()["spent"] == pytest.approx(oracle.most(json.dumps(profile(chat).messages("a"))))


def test_a_pattern_finds_the_label_in_a_longer_answer():
    scored = profile(labels=("0", "1", "2"), pattern=r"score: *(\d)")

    assert read_label("It is fine. Educational score: 2", scored) == "2"
    assert read_label("score: 7", scored) is None
    assert read_label("2", scored) is None
    assert read_label("**Low**", profile()) == "low"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prompt": "Is it good?"}, "does not hold {text}"),
        ({"labels": ["one"]}, "labels"),
        ({"labels": ["High", "high"]}, "differ only in case"),
        ({"max_spend": 1.0}, "needs prices"),
        ({"pattern": "score"}, "has 0 groups"),
        ({"pattern": "("}, "no regular expression"),
        ({"base_url": "ftp://x"}, "base_url"),
        ({"modle": "m"}, "did you mean 'model'"),
        ({"api_key": "sk-123"}, "secret://NAME"),
    ],
)
def test_a_wrong_profile_is_one_sentence(tmp_path, change, said):
    fields = {"base_url": "http://x/v1", "model": "m", "prompt": "{text}", "labels": ["high", "low"], **change}
    path = tmp_path / "p.json"
    path.write_text(json.dumps(fields))

    with pytest.raises(SpecError) as error:
        load_profile("p.json", tmp_path)
    assert said in error.value.message
    assert "sk-123" not in error.value.message


def test_an_unknown_profile_and_a_missing_secret_are_named(tmp_path, monkeypatch):
    with pytest.raises(SpecError, match="there is no profile 'eud-local'; did you mean 'edu-local'"):
        load_profile("eud-local", tmp_path)
    with pytest.raises(SpecError, match="cannot be read"):
        load_profile("none.yaml", tmp_path)
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with pytest.raises(SpecError, match="no variable 'NO_SUCH_KEY'"):
        profile(api_key="secret://NO_SUCH_KEY").secret()


def test_the_bundled_profile_is_sound():
    assert load_profile("edu-local").labels == ("high", "low")
