"""How fast a curriculum reaches the hard documents: pacing functions, and how documents are spread over its phases.

Time t runs from 0 to 1 over the curriculum. The competence c(t) is the share of documents, easiest first, that are
available at t; s is the share at the start.

    linear      s + (1 - s) t               Platanios et al. 2019, arXiv:1903.09848, eq. 5
    root        sqrt(s^2 + (1 - s^2) t)     the same, eq. 7
    quadratic   s + (1 - s) t^2             Wu, Dyer, Neyshabur 2021, arXiv:2012.03107, table 1, polynomial of degree 2
    step        s up to t = 1/2, then 1     Hacohen, Weinshall 2019, arXiv:1904.03626, single step pacing
    geometric   s^(1 - t)                   the same, fixed exponential pacing: a phase's factor is s^(-1 / phases)
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stages.selection.keys import Ints, Real

Pacing = Literal["linear", "root", "quadratic", "step", "geometric"]
#: The competence at the start where the spec does not say: nothing, or what the function cannot do without.
STARTS: dict[Pacing, float] = {"linear": 0.0, "root": 0.0, "quadratic": 0.0, "step": 0.5, "geometric": 0.01}
#: Shares nearer to each other than this are the same.
_NEAR = 1e-12


def competence(pacing: Pacing, time: float, start: float) -> float:
    """The share of documents that are available at a time, in [0, 1]."""
    match pacing:
        case "linear":
            return start + (1 - start) * time
        case "root":
            return math.sqrt(start**2 + (1 - start**2) * time)
        case "quadratic":
            return start + (1 - start) * time**2
        case "step":
            return start if 2 * time <= 1 else 1.0
        case "geometric":
            return float(start ** (1 - time))


@dataclass(frozen=True, slots=True)
class Schedule:
    """Shares of documents: E cohorts (documents that become available with the same phase), P phases.

    `available_E` is the share available in each phase, `size_P` the share that each phase takes, `upto_EP` for each
    cohort the share of it that has been taken by the end of each phase.
    """

    available_E: Real
    size_P: Real
    upto_EP: Real

    @classmethod
    def of(cls, competence_E: Real, mix: float, warmup: float) -> "Schedule":
        """Spread documents over equally long phases.

        Each phase takes its share `warmup / phases` of all documents from those that are available and not yet taken,
        in proportion from every cohort, or all of them where they are fewer. What is left at the end goes to the last
        phase, with `warmup` below 1 to one more. A share `mix` of every cohort is spread over the phases by their
        sizes.
        """
        phases = len(competence_E)
        closing = warmup < 1
        size_P = np.zeros(phases + closing)
        taken_EP = np.zeros((phases, phases + closing))
        waiting_E = np.zeros(phases)  # of each cohort the share that is not yet taken
        new_E = np.diff(competence_E, prepend=0.0)
        for phase in range(phases + closing):
            waiting_E[phase : phase + 1] = 1.0
            pool = float(waiting_E @ new_E)
            size = pool if phase >= phases - (not closing) else min(warmup / phases, pool)
            size = pool if pool - size < _NEAR else size
            chance = size / pool if pool > 0 else 1.0
            size_P[phase] = size
            taken_EP[:, phase] = waiting_E * chance
            waiting_E *= 1 - chance
        upto_EP = np.cumsum((1 - mix) * taken_EP + mix * size_P, axis=1)
        upto_EP[:, -1] = 1.0
        return cls(competence_E, size_P, np.minimum(upto_EP, 1.0))

    def phase_of(self, ease: Real, chance: NDArray[np.uint64]) -> Ints:
        """The phase of a document that is among the easiest `ease` of all, given an evenly spread number for it."""
        cohort = np.searchsorted(self.available_E, ease - _NEAR, side="left")
        cohort = np.minimum(cohort, len(self.available_E) - 1)
        phases = len(self.size_P)
        ends = (np.arange(len(self.available_E))[:, None] + self.upto_EP).reshape(-1)
        place = cohort + np.minimum(chance.astype(np.float64) * 2.0**-64, 1 - 2.0**-53)
        phase: Ints = np.searchsorted(ends, place, side="right") - cohort * phases
        return np.minimum(phase, phases - 1)


def competences(pacing: Pacing, phases: int, start: float) -> Real:
    """The share available in each phase: the competence at its end."""
    return np.array([competence(pacing, (p + 1) / phases, start) for p in range(phases)])


#: The golden ratio's fraction in 64 bits: its multiples are spread as evenly over the circle as can be.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def spread(rank: Ints, offset: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers that are evenly spread over 64 bits for ranks in a row (Kronecker's sequence), from an offset on."""
    return rank.astype(np.uint64) * _GOLDEN + offset
