"""Probes: what is read from files, and figures against probabilities that are known."""

import gzip
import json
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from stages.errors import DataError, SpecError
from stages.tokenization import Encoder, bytes_alone, parsed
from trainer.evaluate import Scorer
from trainer.probes import Cloze, Probe, ask, ask_all, split
from trainer.settings import ModelSettings

CONTEXT, VOCABULARY, END = 24, 257, 0
ENCODE = Encoder(parsed(bytes_alone(), "bytes"))


class Bigrams(nn.Module):
    """A model that knows of each token alone what follows it, so that probabilities can be multiplied by hand."""

    def __init__(self, seed=1):
        super().__init__()
        shape = {"layers": 1, "width": 8, "heads": 1, "kv_heads": 1, "hidden": 8}
        self.settings = ModelSettings(vocabulary=VOCABULARY, context=CONTEXT, **shape)
        generator = torch.Generator().manual_seed(seed)
        self.table = nn.Embedding(VOCABULARY, VOCABULARY)
        self.table.weight.data = torch.randn(VOCABULARY, VOCABULARY, generator=generator)
        self.head = nn.Identity()

    def hidden(self, tokens_BT, starts_BT):
        return self.table(tokens_BT)

    def nats(self, prompt, choice):
        """The loss of a choice after a prompt and the end of a text."""
        _, before = ENCODE(pa_strings(prompt))
        _, own = ENCODE(pa_strings(choice))
        ids = [END, *before.tolist(), *own.tolist()]
        logs = self.table.weight.double().log_softmax(-1)
        pairs = list(pairwise(ids))[len(before) :]
        return -sum(logs[a, b].item() for a, b in pairs)


def pa_strings(*texts):
    return pa.array(texts, pa.string())


def probe_file(path, *records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    return path


QUESTIONS = (
    {"prompt": "A sieve keeps the ", "choices": ["bran", "flour", "wind"], "answer": 0, "source": "ours"},
    {"prompt": "Two and two are", "choices": [" four", " five"], "answer": " five"},
    {"prompt": "", "choices": ["né", "no"], "answer": 1},
)


def test_figures_are_those_of_the_probabilities(tmp_path):
    model = Bigrams()
    probe = Probe.read(probe_file(tmp_path / "small.jsonl", *QUESTIONS))

    answers = ask(Scorer(model, END), probe, ENCODE)

    wanted, right = [], [0, 1, 1]
    for record in QUESTIONS:
        prompt = record["prompt"].rstrip()
        moved = record["prompt"][len(prompt) :]
        wanted.append([(model.nats(prompt, moved + c), len((moved + c).encode())) for c in record["choices"]])
    gold = [item[r] for item, r in zip(wanted, right, strict=True)]
    probs = [np.exp(-n) for n, _ in gold]
    among = [p / sum(np.exp(-n) for n, _ in item) for p, item in zip(probs, wanted, strict=True)]
    best = [min(range(len(i)), key=lambda k: i[k][0]) == r for i, r in zip(wanted, right, strict=True)]
    dense = [min(range(len(i)), key=lambda k: i[k][0] / i[k][1]) == r for i, r in zip(wanted, right, strict=True)]
    summary = answers.summary()
    assert {name: summary.pop(name) for name in ("probe", "kind")} == {"probe": "small", "kind": "cloze"}
    assert summary == pytest.approx(
        {
            "items": 3,
            "bits_per_byte": np.mean([n / np.log(2) / size for n, size in gold]),
            "correct_prob": np.mean(probs),
            "normalized_correct_prob": np.mean(among),
            "accuracy": np.mean(best),
            "accuracy_per_byte": np.mean(dense),
            "chance": np.mean([1 / 3, 1 / 2, 1 / 2]),
            "long": 0,
        },
        rel=1e-5,
    )


def test_a_pair_is_right_where_the_good_text_is_likelier(tmp_path):
    model = Bigrams()
    texts = [("The cats sleep.", "The cats sleeps."), ("ab", "ba"), ("ba", "ab")]
    path = probe_file(tmp_path / "agreement.jsonl", *({"good": g, "bad": b} for g, b in texts))

    answers = ask(Scorer(model, END), Probe.read(path), ENCODE)

    assert answers.probe.kind == "pairs"
    assert answers.correct.tolist() == [model.nats("", g) < model.nats("", b) for g, b in texts]
    assert answers.correct[1] != answers.correct[2]


def test_equal_choices_are_no_right_answer():
    probe = Probe("tie", "cloze", (Cloze(prompt="a", choices=("b", "b"), answer=0),))

    answers = ask(Scorer(Bigrams(), END), probe, ENCODE)

    assert answers.correct.tolist() == [False]
    assert answers.normalized_correct_prob == pytest.approx([0.5])


def test_what_does_not_fit_a_context_is_scored_in_windows_and_counted():
    model, prompt, choices = Bigrams(), "xy" * 2 * CONTEXT, ("yes", "no, " * CONTEXT)
    probe = Probe("long", "cloze", (Cloze(prompt=prompt, choices=choices, answer=0),))

    answers = ask(Scorer(model, END), probe, ENCODE)

    assert answers.long == 2
    assert answers.nats == pytest.approx([model.nats(prompt, choice) for choice in choices], rel=1e-5)


def test_blanks_at_a_prompts_end_begin_the_choice():
    assert split("A sieve is a \n", "drum") == ("A sieve is a", " \ndrum")
    assert split("", " drum") == ("", " drum")


def test_small_probabilities_do_not_vanish_among_the_choices():
    probe = Probe("far", "cloze", (Cloze(prompt="", choices=("a" * 400, "a" * 399 + "b"), answer=0),))

    answers = ask(Scorer(Bigrams(), END), probe, ENCODE)

    assert answers.correct_prob[0] == 0.0
    assert answers.normalized_correct_prob[0] == pytest.approx(1 / (1 + np.exp(answers.nats[0] - answers.nats[1])))


def test_a_compressed_probe_is_read_and_named_as_its_file(tmp_path):
    plain = probe_file(tmp_path / "facts.jsonl", *QUESTIONS)
    packed = tmp_path / "facts.jsonl.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    assert Probe.read(packed) == Probe.read(plain)
    assert Probe.read(packed).name == "facts"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (["", " "], "has no item; name a file with a JSON object on each line"),
        (['{"good": "a"'], "line 1 of the probe .* is not JSON"),
        (['{"prompt": "a", "choices": ["b"], "answer": 0}'], r"line 1 .*choices: Tuple should have at least 2 items"),
        (['{"prompt": "a", "choices": ["b", "c"], "answer": 2}'], "line 1 .*the answer 2 is none of its 2 choices"),
        (['{"prompt": "a", "choices": ["b", "c"], "answer": "d"}'], "line 1 .*the answer 'd' is none of its 2 choices"),
        (['{"prompt": "a", "choices": ["b", ""], "answer": 0}'], "line 1 .*a choice is empty"),
        (['{"good": "a", "bad": ""}'], "line 1 .*bad: String should have at least 1 character"),
        (["[]"], "line 1 .*is neither {prompt, choices, answer} nor {good, bad}"),
        (
            ['{"good": "a", "bad": "b"}', '{"prompt": "a", "choices": ["b", "c"], "answer": 0}'],
            "holds pairs and questions with choices, whose figures are no common one",
        ),
    ],
)
def test_what_is_no_probe_is_named(tmp_path, lines, sentence):
    path = tmp_path / "broken.jsonl"
    path.write_text("\n".join(lines))

    with pytest.raises(DataError, match=sentence):
        Probe.read(path)


def test_a_probe_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"the probe '.*none.jsonl' cannot be read: .*; correct its path or mend it"):
        Probe.read(tmp_path / "none.jsonl")


def test_several_probes_are_told_apart_by_name(tmp_path):
    scorer, probe = Scorer(Bigrams(), END), Probe.read(probe_file(tmp_path / "a.jsonl", *QUESTIONS))
    other = Probe("b", "cloze", probe.items[:1])

    found = ask_all(scorer, [probe, other], ENCODE)

    assert found == {"a": ask(scorer, probe, ENCODE).summary(), "b": ask(scorer, other, ENCODE).summary()}
    with pytest.raises(SpecError, match="two probes are called 'a', so their figures could not be told apart"):
        ask_all(scorer, [probe, probe], ENCODE)
