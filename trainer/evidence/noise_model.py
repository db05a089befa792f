"""Made-up ablations whose truth is known: the noise that published training runs show, for testing every statistic.

A run's loss is a power law in tokens plus three kinds of noise: of the seed (one shift for all documents, correlated
between paired arms and between budgets of one trunk), of the document (what a document is like, and how much an arm
suits it) and of both (how one run happens to do on one document).

Numbers: 124 M parameters on FineWeb, final-loss sd over seeds .0009 to .0024 nats per token, .0021 in the setting whose
middle is known too (n = 75): sd .0040 at 25 %, .0029 at 50 %, correlation with the final deviation .64 to .81 at 25 %,
.86 to .92 at 50 % and .96 to .98 at 75 %; 1 % tokens is worth about .0015 nats at the end of the run. Documents gain
unequally from more tokens: by .20 to .26 of the mean gain (sd over 922 documents of three domains, what single runs explain
taken off; our own 1.8 M parameters, 250 or 500 thousand tokens against a million, three seeds).
"""

from dataclasses import dataclass

import numpy as np

from trainer.evidence.losses import Floats, Losses

#: Share of the run, sd relative to the end's, correlation with the end. The 75 % row's sd is interpolated.
COURSE = ((0.08, 4.1, 0.05), (0.25, 1.9, 0.72), (0.5, 1.38, 0.89), (0.75, 1.15, 0.97), (1.0, 1.0, 1.0))
NATS_PER_PERCENT = 0.0015
_EXPONENT = 0.3
_LOSS = 3.28  # nats per token at the largest budget
_BYTES_PER_TOKEN = 4.2
_UNEQUAL = 0.25  # sd over documents of what they gain, of its mean


@dataclass(frozen=True, slots=True)
class NoiseModel:
    """Standard deviations in nats per token.

    seed_sd: of a run at the largest budget; correlation: of the same seed in two arms; level_sd: of documents;
    affinity_sd: of how much each document gains from an arm other than the first, None: a quarter of what the arm gains;
    run_sd: of one run on one document.
    With a fixed panel multipliers and `seed_sd` are true of its documents; otherwise of the population that they are a
    sample of, so that what documents are like and how runs do on each adds to the noise of the panel's loss.
    """

    seed_sd: float = 0.0021
    correlation: float = 0.0
    level_sd: float = 0.6
    affinity_sd: float | None = None
    run_sd: float = 0.02
    fixed_panel: bool = True


def course(shares: Floats) -> tuple[Floats, Floats]:
    """Sd of the seed's deviation relative to the end's, [B], and its correlation between shares of a run, [B, B].

    Deviations are a Markov process in the share (an early one says of a late one what those between leave), which the
    published correlations with the end determine.
    """
    at, sd, with_end = np.array(COURSE).T
    sd_B = np.interp(np.log(shares), np.log(at), sd)
    end_B = np.interp(np.log(shares), np.log(at), with_end)
    correlation_BB = np.minimum(end_B[:, None], end_B) / np.maximum(end_B[:, None], end_B)
    return sd_B, correlation_BB


def seed_noise(
    model: NoiseModel, shape: tuple[int, int], shares: Floats, source: np.random.Generator, replays: int = 1
) -> Floats:
    """Deviations of runs, [replays, A, S, B] for (A, S) = shape, in nats per token."""
    sd_B, correlation_BB = course(shares)
    values, vectors = np.linalg.eigh(correlation_BB)
    root_BB = vectors * np.sqrt(np.maximum(values, 0))
    own = source.normal(size=(replays, *shape, len(shares)))
    shared = source.normal(size=(replays, 1, shape[1], len(shares)))
    mixed = np.sqrt(model.correlation) * shared + np.sqrt(1 - model.correlation) * own
    found: Floats = model.seed_sd * sd_B * (mixed @ root_BB.T)
    return found


def true_losses(tokens: Floats, multiplier: Floats, exponent: float = _EXPONENT) -> Floats:
    """Nats per token after so many tokens of data worth `multiplier` each; 1 % tokens is .0015 nats at the largest."""
    above = NATS_PER_PERCENT * 100 / exponent
    share = tokens * multiplier / tokens.max()
    return np.asarray(_LOSS - above + above * share**-exponent)


def simulate(
    multipliers: dict[str, float],
    *,
    seed: int,
    model: NoiseModel | None = None,
    seeds: int = 3,
    budgets: tuple[int, ...] = (1_000_000, 2_000_000, 4_000_000),
    documents: int = 200,
    domains: int = 2,
) -> Losses:
    """Losses of an ablation whose arms need 1 / multiplier of the tokens that multiplier 1 needs, at every loss."""
    model = model or NoiseModel()
    source = np.random.default_rng(seed)
    tokens_B = np.array(budgets, np.float64)
    arms = len(multipliers)
    worth_A = np.array(list(multipliers.values()))
    loss_AB = true_losses(tokens_B, worth_A[:, None])
    noise_ASB = seed_noise(model, (arms, seeds), tokens_B / tokens_B[-1], source)[0]
    tokens_D: Floats = np.round(np.exp(source.normal(5.5, 0.8, documents))).astype(np.float64) + 8
    level_D = source.normal(0, model.level_sd, documents)
    gain_A = np.abs(loss_AB[:, -1] - loss_AB[0, -1])
    affinity_A = _UNEQUAL * gain_A if model.affinity_sd is None else model.affinity_sd * (worth_A != worth_A[0])
    affinity_AD = source.normal(size=(arms, documents)) * affinity_A[:, None]
    run_ASBD = source.normal(0, model.run_sd, (arms, seeds, len(budgets), documents))
    by_document_ASBD = level_D + affinity_AD[:, None, None] + run_ASBD
    if model.fixed_panel:
        by_document_ASBD -= (by_document_ASBD @ tokens_D / tokens_D.sum())[..., None]
    each_ASBD = (loss_AB[:, None] + noise_ASB)[..., None] + by_document_ASBD
    tokens_ASB = np.broadcast_to(tokens_B, (arms, seeds, len(budgets))).copy()
    return Losses(
        arms=tuple(multipliers),
        seeds=tuple(range(1, seeds + 1)),
        budgets=budgets,
        domains=tuple(f"domain {k}" for k in range(1, domains + 1)),
        nats_ASBD=each_ASBD * tokens_D,
        tokens_ASB=tokens_ASB,
        flops_ASB=6 * 1.8e6 * tokens_ASB,
        bytes_D=np.round(tokens_D * _BYTES_PER_TOKEN),
        domain_D=np.arange(documents) % domains,
        hit_AD=np.zeros((arms, documents), np.bool_),
        tokens_D=tokens_D,
    )
