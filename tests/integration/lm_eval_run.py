"""Runs three tasks of lm-eval on a small decoder and prints what lm-eval says and what we say, as JSON: `lm_eval_run.py FOLDER`.

Runs where lm-eval is installed, which is not where other tests run.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from stages.tokenization import Encoder, bytes_alone, parsed
from trainer.evaluate import Scorer, summed
from trainer.lm_eval_hook import adapter, benchmarks
from trainer.model import Decoder, initialize
from trainer.probes import Cloze, Probe, ask, continued
from trainer.settings import ModelSettings

QUESTIONS = [
    {"prompt": "A sieve keeps the", "choices": ["bran", "flour", "wind"], "answer": 0},
    {
        "prompt": "A drum with a bottom of woven horsehair is called a",
        "choices": ["sieve", "mill", "crank"],
        "answer": 1,
    },
    {
        "prompt": "Two and two are",
        "choices": ["four", "five, as nobody who can count would ever have said"],
        "answer": 1,
    },
]
TEXTS = ["Once upon a time.", "The sieve lets the fine flour through and keeps the bran, né?"]


class Request:
    """What lm-eval asks, as far as an adapter looks at it."""

    def __init__(self, *args):
        self.args = args


def written(path, records):
    path.write_text("".join(json.dumps(r) + "\n" for r in records))
    return str(path)


def task(name, file, **fields):
    common = {"task": name, "dataset_path": "json", "test_split": "test", "num_fewshot": 0}
    return {**common, "dataset_kwargs": {"data_files": {"test": file}}, **fields}


def tasks(folder):
    questions, texts = (written(folder / f"{n}.jsonl", r) for n, r in (
        ("questions", QUESTIONS), ("texts", [{"text": text} for text in TEXTS])
    ))  # fmt: skip
    metric = {"aggregation": "mean", "higher_is_better": True}
    choice = {"output_type": "multiple_choice", "doc_to_text": "{{prompt}}", "doc_to_choice": "{{choices}}"}
    rolling = {"output_type": "loglikelihood_rolling", "doc_to_text": "", "doc_to_target": "{{text}}"}
    writing = {"output_type": "generate_until", "doc_to_text": "{{text}}", "doc_to_target": "{{text}}"}
    return [
        task("sieves", questions, doc_to_target="{{answer}}", metric_list=[{"metric": "acc", **metric}], **choice),
        task("stories", texts, metric_list=[{"metric": "bits_per_byte"}], **rolling),
        task(
            "writing",
            texts,
            metric_list=[{"metric": "exact_match", **metric}],
            generation_kwargs={"until": ["\n\n"], "max_gen_toks": 5, "do_sample": False},
            **writing,
        ),
    ]


def main(folder):
    tokenizer = parsed(bytes_alone(), "bytes")
    encode = Encoder(tokenizer)
    model = Decoder(ModelSettings(vocabulary=257, context=32, layers=1, width=16, heads=2, kv_heads=1, hidden=16))
    initialize(model, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)
        model.embedding.weight[95:] = 0  # what greed writes are signs and letters, which are tokens of their own
    scorer = Scorer(model, 0)
    theirs = benchmarks(scorer, tokenizer, encode, tasks(folder), bootstrap_iters=0, log_samples=False)

    items = tuple(
        Cloze(prompt=q["prompt"], choices=tuple(f" {c}" for c in q["choices"]), answer=q["answer"]) for q in QUESTIONS
    )
    own = ask(scorer, Probe("sieves", "cloze", items), encode).summary()
    sequences = continued(encode, ["", ""], TEXTS)
    nats = summed(scorer.score(sequences)[0], sequences.offsets_S1)
    size = sum(len(text.encode()) for text in TEXTS)
    lm = adapter(scorer, tokenizer, encode)
    [greedy] = lm.generate_until([Request(TEXTS[0], {"until": [], "max_gen_toks": 4})])
    found = lm.loglikelihood([Request(TEXTS[0], greedy), Request(TEXTS[0], "zzzz"), Request("", TEXTS[0])])
    _, ids = encode(pa.array([greedy]))
    answer = {
        "accuracy": [theirs["sieves"]["acc,none"], own["accuracy"]],
        "bits_per_byte": [theirs["stories"]["bits_per_byte,none"], float(nats.sum() / np.log(2) / size)],
        "rolling": [lm.loglikelihood_rolling([Request(t) for t in TEXTS]), (-nats).tolist()],
        "exact_match": theirs["writing"]["exact_match,none"],
        "greedy": [len(ids), [greedily for _, greedily in found[:2]]],
        "whole": [found[2][0], -float(nats[0])],
    }
    json.dump(answer, sys.stdout)


main(Path(sys.argv[1]))
