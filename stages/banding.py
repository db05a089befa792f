"""How a signature is cut into bands of rows: the chance that a pair of documents becomes a candidate.

Sources: Leskovec, Rajaraman and Ullman, Mining of Massive Datasets, chapter 3; the optimizer of datasketch.
"""

import functools
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from stages.errors import SpecError

Share = TypeVar("Share", float, NDArray[np.float64])
#: Points of the quadrature; with n of them it is exact for polynomials of degree 2n - 1, and these have degree b * r.
_MOST_POINTS = 512


def candidate_probability(s: Share, bands: int, rows: int) -> Share:
    """The probability in [0, 1] that two documents of Jaccard `s` share at least one band: 1 - (1 - s^r)^b."""
    return 1.0 - (1.0 - s**rows) ** bands


@functools.lru_cache(maxsize=64)
def bands_for(
    threshold: float, permutations: int, false_positive_weight: float = 0.5, false_negative_weight: float = 0.5
) -> tuple[int, int]:
    """The bands and rows, of at most `permutations` in all, that part documents best at a Jaccard of `threshold`.

    Best is the least weighted sum of the area under the candidate curve below the threshold (false positives) and of
    the area over it above (false negatives); the first in the order of bands, then rows, as in datasketch.

    Raises:
        SpecError: the threshold or the weights are outside [0, 1], or there is no permutation.

    """
    weights = (false_positive_weight, false_negative_weight)
    if permutations < 1 or not all(0 <= share <= 1 for share in (threshold, *weights)):
        message = (
            f"no bands can be chosen for a threshold of {threshold}, {permutations} permutations and the weights {weights}; "
            "give at least one permutation and shares from 0 to 1"
        )
        raise SpecError(message)
    points, weights_of = np.polynomial.legendre.leggauss(min(permutations // 2 + 1, _MOST_POINTS))
    below, above = threshold * (points + 1) / 2, threshold + (1 - threshold) * (points + 1) / 2
    best, least = (0, 0), np.inf
    for bands in range(1, permutations + 1):
        rows = np.arange(1, permutations // bands + 1)[:, None]
        positives = (1 - (1 - below**rows) ** bands) @ weights_of * threshold / 2
        negatives = ((1 - above**rows) ** bands) @ weights_of * (1 - threshold) / 2
        errors = positives * false_positive_weight + negatives * false_negative_weight
        if errors.min() < least:
            least, best = errors.min(), (bands, int(errors.argmin()) + 1)
    return best
