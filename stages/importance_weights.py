"""What an artifact of kind `importance` holds: a log ratio for each bucket of hashed n-grams, and how they are hashed."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from stages.artifacts import Artifact
from stages.base import Files
from stages.errors import StorageError

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "importance"
#: The file of the artifact: float64 log ratios, one for each bucket.
ROLE = "log_ratios.npy"
#: Bumped when features are made otherwise, so that older weights are not read as if they were of today's.
VERSION = 1
#: Added to probabilities before their logarithm (DSIR's code).
SMOOTHING = 1e-8


@dataclass(frozen=True, slots=True)
class Features:
    """How a text becomes counts: n-grams of 1 to `ngrams` tokens, hashed into so many buckets."""

    ngrams: int = 2
    buckets: int = 10_000
    hash: Literal["fast", "sha256"] = "fast"

    def identity(self) -> dict[str, Any]:
        """What the artifact's numbers depend on beside the counts."""
        return {**asdict(self), "tokens": "wordpunct", "smoothing": SMOOTHING, "version": VERSION}

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """The features that an artifact was made with.

        Raises:
            StorageError: they are of another version of this code.
        """
        known = artifact.identity
        found = cls(**{name: known[name] for name in ("ngrams", "buckets", "hash") if name in known})
        if found.identity() != dict(known):
            raise StorageError(
                f"the weights {artifact.id!r} were learned with other features ({dict(known)}) than this version makes; "
                "learn them again with: tamis learn importance",
                artifact=artifact.id,
            )
        return found


def log_ratios(files: Files, artifact: Artifact) -> NDArray[np.float64]:
    """The log ratio of each bucket.

    Raises:
        StorageError: the file is missing or not what it should be.
    """
    path = artifact.path(files, ROLE)
    buckets = Features.of(artifact).buckets
    try:
        values: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise StorageError(
            f"the weights {artifact.id!r} cannot be read ({error}); learn them again", artifact=artifact.id
        ) from error
    if values.shape != (buckets,) or values.dtype != np.float64 or not np.isfinite(values).all():
        raise StorageError(
            f"the weights {artifact.id!r} are {values.dtype} of shape {values.shape} and not one finite float64 for each "
            f"of {buckets} buckets; learn them again",
            artifact=artifact.id,
        )
    return values


def weigh(
    texts: "pa.Array", features: Features, ratios: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The sum of the log ratios of each text's n-grams, and its number of tokens."""
    from stages.kernels.hashed_ngrams import hashed_ngrams  # noqa: PLC0415 - numba is slow to import

    found = hashed_ngrams(texts, features.ngrams, features.buckets, features.hash)
    weights = np.zeros(len(found.tokens))
    there = found.tokens > 0
    if there.any():  # numpy adds each stretch pairwise on its own, so that neighbours change no bit
        weights[there] = np.add.reduceat(ratios[found.buckets], found.begins[:-1][there])
    return weights, found.tokens
