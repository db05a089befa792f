"""Which documents to label next: functions of probabilities, vectors and ids. Pure; more is always more valuable.

Shapes: N documents, C classes, M members of a committee, D dimensions. Values are float32, and NaN for a document whose
probabilities are unknown; no choice takes such a document. Random numbers are u = hash(seed, "acquisition", doc_id), and
equal values are ordered by doc_id, so neither the order of the documents nor how they are partitioned changes a choice.

Sources: Settles 2009 (Active Learning Literature Survey, sections 3.1, 3.2 and 3.6); Houlsby et al. 2011 (BALD,
arXiv:1112.5745); Sener and Savarese 2018 (k-center, arXiv:1708.00489); Kool et al. 2019 (Gumbel top-k, arXiv:1903.06059).
"""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.chance import draw

Values = npt.NDArray[np.float32]
Rows = npt.NDArray[np.intp]
Real = npt.NDArray[np.floating]

CHANCE = "acquisition"


def entropy(p_NC: Real) -> Values:
    """Shannon entropy in nats, in [0, ln C]; 0 ln 0 is 0. Uncertainty sampling (Settles 2009, 3.1)."""
    exact_NC = np.asarray(p_NC, np.float64)
    return np.asarray(-(exact_NC * _log(exact_NC)).sum(axis=1), np.float32)


def margin(p_NC: Real) -> Values:
    """One minus the lead of the most probable class over the second, in [0, 1] (Settles 2009, 3.1)."""
    if p_NC.shape[1] < 2:  # noqa: PLR2004 - a lone class leads by all that it has
        return np.asarray(1 - p_NC.sum(axis=1), np.float32)
    best_NC = np.sort(np.asarray(p_NC, np.float64), axis=1)
    return np.asarray(1 - (best_NC[:, -1] - best_NC[:, -2]), np.float32)


def least_confidence(p_NC: Real) -> Values:
    """One minus the probability of the most probable class, in [0, 1 - 1/C] (Settles 2009, 3.1)."""
    return np.asarray(1 - np.asarray(p_NC, np.float64).max(axis=1), np.float32)


def vote_entropy(p_MNC: Real) -> Values:
    """Entropy in nats of the classes that the members vote for; of equal probabilities the first class counts.

    In [0, ln min(M, C)]. Query by committee (Settles 2009, 3.2).
    """
    votes_MN = np.asarray(p_MNC).argmax(axis=2)
    share_NC = np.stack([(votes_MN == c).mean(axis=0) for c in range(p_MNC.shape[2])], axis=1)
    share_NC[np.isnan(p_MNC).any(axis=(0, 2))] = np.nan
    return entropy(share_NC)


def mean_kl(p_MNC: Real) -> Values:
    """Mean Kullback-Leibler divergence in nats of the members from their mean: BALD's mutual information.

    It is the entropy of the mean less the mean of the entropies (Houlsby et al. 2011), in [0, ln min(M, C)].
    """
    exact_MNC = np.asarray(p_MNC, np.float64)
    mean_NC = exact_MNC.mean(axis=0)
    divergence_MN = (exact_MNC * (_log(exact_MNC) - _log(mean_NC)[None])).sum(axis=2)
    return np.asarray(np.maximum(divergence_MN.mean(axis=0), 0), np.float32)


def density(vectors_ND: Real) -> Values:
    """Mean cosine similarity of each document to all documents, itself included; negative means count as 0. In [0, 1].

    The vectors have length 1; a vector of zeros has density 0.
    """
    vectors_ND = np.asarray(vectors_ND, np.float64)
    if not len(vectors_ND):
        return np.empty(0, np.float32)
    # Summed in the order of the values themselves, so that the order of the documents does not reach the last digit.
    centre_D = np.sort(vectors_ND, axis=0).mean(axis=0)
    return np.asarray(np.clip((vectors_ND * centre_D).sum(axis=1), 0, 1), np.float32)


def density_weighted(value_N: Real, density_N: Real, *, beta: float) -> Values:
    """The value times density ** beta: what is uncertain and typical, not an outlier (Settles 2009, 3.6)."""
    return np.asarray(np.asarray(value_N, np.float64) * np.asarray(density_N, np.float64) ** beta, np.float32)


def random(doc_ids: pa.Array | pa.ChunkedArray, *, seed: int) -> Values:
    """A uniform number in [0, 1] of the document alone: the control."""
    return np.asarray(_uniform(doc_ids, seed), np.float32)


def best(value_N: Real, doc_ids: pa.Array | pa.ChunkedArray, n: int) -> Rows:
    """Positions of the `n` most valuable documents, best first; equal ones by doc_id. Unknown (NaN) ones are left out."""
    known = np.flatnonzero(~np.isnan(value_N))
    order = np.lexsort((_names(doc_ids)[known], -np.asarray(value_N, np.float64)[known]))
    return known[order[:n]]


def pick(value_N: Real, doc_ids: pa.Array | pa.ChunkedArray, n: int, *, temperature: float, seed: int) -> Rows:
    """Positions of `n` valuable documents, best first, with Gumbel noise that spreads a batch.

    Temperature 0 takes the best. Above 0 this samples without replacement in proportion to exp(value / temperature)
    (Kool et al. 2019).
    """
    if not temperature:
        return best(value_N, doc_ids, n)
    noise_N = -np.log(-np.log(_uniform(doc_ids, seed)))
    return best(np.asarray(value_N, np.float64) + temperature * noise_N, doc_ids, n)


def k_center(vectors_ND: Real, doc_ids: pa.Array | pa.ChunkedArray, centers: Rows, n: int, *, seed: int) -> Rows:
    """Positions of `n` documents, each the farthest from all centers and all picked before it.

    The greedy 2-approximation of the k-center problem (Gonzalez 1985; Sener and Savarese 2018), by Euclidean distance.
    Without any center the first is drawn at random. Centers are never picked.
    """
    order = np.argsort(_names(doc_ids), kind="stable")
    x_ND = np.asarray(vectors_ND, np.float64)[order]
    place = np.empty(len(order), np.intp)
    place[order] = np.arange(len(order))
    near_N = np.full(len(order), np.inf)
    for center in np.sort(place[centers]):
        near_N = np.minimum(near_N, _squared(x_ND, x_ND[center]))
    near_N[place[centers]] = -np.inf
    picked: list[int] = []
    for _ in range(min(n, len(order) - len(np.unique(centers)))):
        first = not len(centers) and not picked
        new = int(np.argmax(_uniform(doc_ids, seed)[order])) if first else int(np.argmax(near_N))
        picked.append(new)
        near_N = np.minimum(near_N, _squared(x_ND, x_ND[new]))
        near_N[picked] = -np.inf
    return order[np.asarray(picked, np.intp)]


def spread(value_N: Real, vectors_ND: Real, doc_ids: pa.Array | pa.ChunkedArray, n: int, *, candidates: int) -> Rows:
    """Positions of `n` valuable documents that differ: the most valuable one, then k-center among the best.

    `candidates` is how many of the most valuable documents are considered; with no more than `n` it is `best`.
    """
    top = best(value_N, doc_ids, max(n, candidates))
    if len(top) <= n:
        return top
    ids = _names(doc_ids)[top]
    rest = k_center(vectors_ND[top], pa.array(ids.tolist(), pa.string()), np.array([0]), n - 1, seed=0)
    return top[np.concatenate([[0], rest]).astype(np.intp)]


def _log(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The natural logarithm where p > 0, 0 where it is 0, NaN where it is unknown."""
    found: npt.NDArray[np.float64] = np.log(p, out=np.where(np.isnan(p), np.nan, 0.0), where=p > 0)
    return found


def _uniform(doc_ids: pa.Array | pa.ChunkedArray, seed: int) -> npt.NDArray[np.float64]:
    """Strictly between 0 and 1, of 52 bits."""
    bits_N = draw(seed, CHANCE, doc_ids) >> np.uint64(12)
    return (bits_N.astype(np.float64) + 0.5) * 2.0**-52


def _squared(x_ND: npt.NDArray[np.float64], center_D: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Squared distances, each of its own row alone: a matrix product may round by where a row is."""
    found: npt.NDArray[np.float64] = np.square(x_ND - center_D).sum(axis=1)
    return found


def _names(doc_ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.str_]:
    return np.asarray(doc_ids.to_pylist(), str)
