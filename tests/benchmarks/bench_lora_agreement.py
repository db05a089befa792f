"""Whether adapters rank corpora as full training does, over nine recipes of the bundled texts at tiny scale.

Each recipe is trained in full from the same initialization, and by LoRA of two ranks on one base, which saw a little of every
recipe. All are measured on held-out texts of three domains. Printed: each arm's bits per byte; Spearman's correlation with the
full arms, the share of pairs ordered alike, what is lost by choosing the adapters' best; and the same between two seeds of
full training, which no screen can beat by much. Tiny models say nothing about large ones: this shows the instrument.

    bench_lora_agreement.py [STEPS [SEEDS]]   default 40 steps, 1 seed; 400 and 3 say more
"""

import gzip
import itertools
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr
from tokenizers import ByteLevelBPETokenizer

from trainer.adapters import LoraSettings
from trainer.builds import decoder_from, trained
from trainer.checkpoint import load_model
from trainer.dial import dial
from trainer.evaluate import bits_per_byte, evaluate
from trainer.job import Job
from trainer.panel import Panel
from trainer.settings import OptimizerSettings, Schedule, TrainSettings
from trainer.token_pack import PackWriter
from trainer.train import train
from trainer.view import View

SAMPLES = Path(__file__).parents[2] / "pipelines" / "samples"
DOMAINS = ("manuals", "encyclopedic", "books")
VOCABULARY, END = 1024, 0
MODEL = dial(250_000, vocabulary=VOCABULARY, context=128)
SEQUENCES = 8
FULL_RATE, LORA_RATE = 5e-3, 1e-2
RANKS = (4, 16)
LONGEST = 1_500  # characters of a document, so that each recipe has many


def texts(path: Path, most: int) -> list[str]:
    """The first texts of a file of JSON lines, cut."""
    found = []
    with gzip.open(path, "rt", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                found.append(str(json.loads(line)["text"])[:LONGEST])
            except (ValueError, KeyError, TypeError):  # the raw sample holds broken records on purpose
                continue
            if len(found) == most:
                break
    return found


def recipes() -> dict[str, list[str]]:
    """Corpora that should differ: sources, mixtures, and damage of several kinds."""
    chance = random.Random(0)
    sources = {name: texts(SAMPLES / "clean" / name / "train.jsonl.gz", 150) for name in DOMAINS}
    raw = [text for path in sorted((SAMPLES / "raw").glob("*.jsonl.gz")) for text in texts(path, 150)]
    clean = list(itertools.chain.from_iterable(zip(*sources.values(), strict=False)))

    def shuffled(text: str) -> str:
        words = text.split()
        chance.shuffle(words)
        return " ".join(words)

    def damaged(text: str) -> str:
        return "".join(chance.choice("abcdefghijklmnopqrstuvwxyz ") if chance.random() < 0.1 else c for c in text)

    return {
        "clean": clean,
        "raw": raw,
        "half raw": clean[::2] + raw[: len(clean) // 2],
        "manuals": sources["manuals"],
        "encyclopedic": sources["encyclopedic"],
        "books": sources["books"],
        "few texts": clean[:12],
        "words shuffled": [shuffled(text) for text in clean],
        "letters damaged": [damaged(text) for text in clean],
    }


def prepared(folder: Path) -> tuple[dict[str, str], Panel]:
    """One pack of all recipes' texts with a view for each, and the panel."""
    corpora = recipes()
    panel = [
        (d, text) for d, name in enumerate(DOMAINS) for text in texts(SAMPLES / "clean" / name / "eval.jsonl.gz", 8)
    ]
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(
        corpora["half raw"], VOCABULARY, special_tokens=["<|endoftext|>"], show_progress=False
    )
    views, row = {}, 0
    with PackWriter(folder / "all.pack", vocabulary=VOCABULARY, end_of_text=END, tokenizer="bench") as writer:
        for name, corpus in corpora.items():
            ids = [tokenizer.encode(text).ids for text in corpus]
            lengths, sizes = np.array([len(x) for x in ids]), np.array([len(text.encode()) for text in corpus])
            names = np.random.default_rng(row).integers(0, 256, (len(ids), 16)).astype(np.uint8)
            writer.append(names, lengths, np.concatenate(ids), sizes)
            views[name] = np.arange(row, row + len(ids))
            row += len(ids)
        writer.close()
    views["base"] = np.concatenate([rows[:20] for rows in views.values()])
    for name, rows in views.items():
        View(rows, ordered=False, name=name).save(folder / f"{name}.view")
    ids = [tokenizer.encode(text).ids for _, text in panel]
    offsets = np.cumsum([0, *map(len, ids)])
    held_out = Panel(
        "bench",
        "bench",
        VOCABULARY,
        END,
        DOMAINS,
        tuple(f"{i:032x}" for i in range(len(panel))),
        np.array([d for d, _ in panel]),
        np.array([len(text.encode()) for _, text in panel]),
        np.concatenate(ids).astype(np.uint32),
        offsets,
    )
    return {name: str(folder / f"{name}.view") for name in views}, held_out


def job(folder: Path, view: str, name: str, steps: int, rate: float, seed: int) -> Job:
    """A run with a fifth of its steps in the decay."""
    settings = TrainSettings(
        schedule=Schedule(steps=steps, warmup_steps=steps // 10, decay_steps=steps // 5),
        optimizer=OptimizerSettings(learning_rate=rate),
        batch_sequences=SEQUENCES,
        seed=seed,
        precision="fp32",
        checkpoint_seconds=None,
    )
    packs = (str(folder / "all.pack"),)
    return Job(model=MODEL, settings=settings, packs=packs, view=view, folder=str(folder / f"{name}-{seed}"))


def arms(folder: Path, steps: int, seed: int) -> Iterator[tuple[str, str, float]]:
    """Kind, recipe and bits per byte of every arm."""
    views, panel = prepared(folder)
    base_job = job(folder, views.pop("base"), "base", steps, FULL_RATE, seed)
    base = Path(train(base_job).checkpoint)
    for name, view in views.items():
        for kind, again in (("full", seed), ("full, another seed", seed + 1000)):
            full = train(job(folder, view, f"full {name}", steps, FULL_RATE, again))
            yield kind, name, bits_per_byte(evaluate(load_model(Path(full.checkpoint)), panel), panel)
        for rank in RANKS:
            build = decoder_from(base, LoraSettings(rank=rank, alpha=2 * rank))
            adapted = job(folder, view, f"lora {rank} {name}", steps // 2, LORA_RATE, seed)
            model = trained(build, adapted, Path(train(adapted, build=build).checkpoint))
            yield f"LoRA, rank {rank}", name, bits_per_byte(evaluate(model, panel), panel)


def agreement(screen: dict[str, float], full: dict[str, float]) -> dict[str, float | str]:
    """Spearman's correlation, the share of pairs ordered alike, and the regret of the screen's best in bits per byte."""
    pairs = [(full[a] - full[b]) * (screen[a] - screen[b]) > 0 for a, b in itertools.combinations(full, 2)]
    best = min(screen, key=lambda name: screen[name])
    return {
        "ours": round(float(spearmanr([screen[n] for n in full], list(full.values())).statistic), 3),
        "unit": "Spearman's correlation",
        "decision_accuracy": round(sum(pairs) / len(pairs), 3),
        "top_1_regret": round(full[best] - min(full.values()), 4),
    }


def main(steps: int = 40, seeds: int = 1) -> None:
    """Print every arm, and the agreement by seed."""
    print(
        f"{MODEL}; {steps} steps of {SEQUENCES * MODEL.context} tokens in full, {steps // 2} of LoRA on a base of {steps}"
    )
    for seed in range(1, seeds + 1):
        began = time.process_time()
        found: dict[str, dict[str, float]] = {}
        with tempfile.TemporaryDirectory() as folder:
            for kind, name, value in arms(Path(folder), steps, seed):
                found.setdefault(kind, {})[name] = value
        for name in found["full"]:
            print(
                f"seed {seed}  {name:16s}" + "".join(f"  {kind} {values[name]:.4f}" for kind, values in found.items())
            )
        for kind, values in found.items():
            if kind != "full":
                figure = {"what": f"ranks of {len(values)} recipes, {kind} against full training, seed {seed}"}
                print(json.dumps(figure | agreement(values, found["full"])))
        print(f"{time.process_time() - began:.0f} s of CPU time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
