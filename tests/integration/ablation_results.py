"""Results of made-up ablations, with the noise that training runs have: what an ablation's report is made from."""

import hashlib

import numpy as np

from trainer.evidence.noise_model import NoiseModel, simulate
from trainer.evidence.study import study

ARMS = {"unfiltered": 1.0, "curated": 1.3, "random": 1.0}
STEPS = {"curated - stats": 1.22, "curated - copies": 1.1, "curated - language": 1.32}
WHAT = {
    "unfiltered": "every document, as it came",
    "curated": "what the policy keeps and selection chose",
    "random": "as many tokens as curated, drawn at random",
}


def result(multipliers=None, *, seeds=3, budgets=(1_000_000, 2_000_000, 4_000_000), seed=0, **changes):
    """An ablation of these arms (name to true token multiplier) as its `result.json` is; `changes` replace fields.

    Two of the panel's documents share text with every arm but the first.
    """
    multipliers = multipliers or ARMS
    losses = simulate(
        multipliers,
        seed=seed,
        seeds=seeds,
        budgets=budgets,
        documents=240,
        domains=4,
        model=NoiseModel(correlation=0.4),
    )
    losses.hit_AD[1:, :2] = True
    clean = ~losses.hit_AD.any(axis=0)
    without = {name: name.partition(" - ")[2] for name in multipliers if " - " in name}
    options = {
        "baseline": losses.arms[0],
        "seed": 1,
        "resamples": 400,
        "control": "random" if "random" in multipliers else None,
        "without": without,
    }
    proved = study(losses, **options)
    proved_clean = study(losses.only(clean), **options) if not clean.all() else None
    return {
        "format": 1,
        "ablation": "web-en-ablation-0a1b2c3d",
        "run": "web-en-5e6f7a8b",
        "baseline": losses.arms[0],
        "settings": _settings(losses),
        "arms": [_arm(name, losses) for name in losses.arms],
        "endpoints": _endpoints(losses, clean),
        "curves": [_curve(name, s, losses) for name in losses.arms for s in losses.seeds],
        "learning_rates": {
            "candidates": [
                {"learning_rate": r, "bits_per_byte": b} for r, b in ((0.004, 2.31), (0.008, 2.28), (0.016, 2.3))
            ],
            "chosen": 0.008,
            "edge": False,
        },
        "cpu_seconds_per_token": None,
        "stopped": None,
        "evidence": proved,
        "evidence_clean": proved_clean,
        "keys": {
            "run": "web-en-5e6f7a8b",
            "panel": _hash("panel"),
            "views": {n: {"view": _hash(n)} for n in losses.arms},
        },
        **changes,
    }


def _hash(text):
    return hashlib.sha256(text.encode()).hexdigest()


def _settings(losses):
    panel = [
        {
            "domain": domain,
            "documents": int((losses.domain_D == k).sum()),
            "bytes": int(losses.bytes_D[losses.domain_D == k].sum()),
        }
        for k, domain in enumerate(losses.domains)
    ]
    return {
        "model": {"vocabulary": 4096, "context": 256, "layers": 6, "width": 128, "heads": 4, "positions": "rope"},
        "parameters": {"total": 1_800_000, "embedding": 524_288, "body": 1_275_712},
        "training": {
            "batch_tokens": 4096,
            "learning_rate": 0.008,
            "schedule": "wsd",
            "decay": 0.1,
            "optimizer": "adamw",
        },
        "budgets": list(losses.budgets),
        "seeds": list(losses.seeds),
        "panel": panel,
        "tokenizer": "bpe-4096-0011223344556677",
        "equal": "tokens",
        "exhausted": "repeat",
    }


def _arm(name, losses):
    held = 9_000_000 if name == losses.arms[0] else 3_000_000
    number = losses.arms.index(name)
    return {
        "name": name,
        "what": WHAT.get(name, "curated without one step"),
        "documents": held // 900,
        "tokens": held,
        "view": _hash(name)[:16],
        "ordered": False,
        "rewrites_text": False,
        "unknown_documents": 0,
        "curation_cpu_seconds": 0.0 if name == losses.arms[0] else 84.2,
        "epochs": [b / held for b in losses.budgets],
        "unique_tokens": [min(b, held) for b in losses.budgets],
        "contamination": {
            "documents_hit": 3 * int(losses.hit_AD[number].any()),
            "panel_documents_hit": int(losses.hit_AD[number].sum()),
            "panel_documents": losses.hit_AD.shape[1],
            "ngram": 13,
            "near_jaccard": 0.8,
        },
    }


def _endpoints(losses, clean):
    whole, without, domains = losses.bits_per_byte(), losses.only(clean).bits_per_byte(), losses.domain_bits_per_byte()
    return [
        {
            "arm": arm,
            "seed": seed,
            "budget": budget,
            "tokens": int(losses.tokens_ASB[a, s, b]),
            "learning_rate": 0.008,
            "bits_per_byte": float(whole[a, s, b]),
            "bits_per_byte_clean": float(without[a, s, b]),
            "domains": {d: float(x) for d, x in zip(losses.domains, domains[a, s, b], strict=True)},
            "flops": float(losses.flops_ASB[a, s, b]),
            "cpu_seconds": budget / 6000,
            "inherited_cpu_seconds": 0.9 * budget / 6000,
            "tokens_per_second": 6000.0,
            "wait": 0.001,
            "ledger": _hash(f"{arm}{seed}{budget}"),
            "diverged": None,
        }
        for a, arm in enumerate(losses.arms)
        for s, seed in enumerate(losses.seeds)
        for b, budget in enumerate(losses.budgets)
    ]


def _curve(name, seed, losses):
    generator = np.random.default_rng([losses.arms.index(name), seed])
    tokens = np.arange(40_960, losses.budgets[-1], 40_960)
    noise = 0.02 * generator.standard_normal(len(tokens))
    nats = 3.2 + 2.4 * (tokens / tokens[0]) ** -0.35 + noise - 0.05 * losses.arms.index(name)
    return {"arm": name, "seed": seed, "tokens": tokens.tolist(), "nats_per_token": nats.tolist()}
