"""Fitting calibration on documents that the classifier was not fitted on."""

import numpy as np
from numpy.typing import NDArray

from stages.classifiers.calibration import LEAST, Calibration, logit, sigmoid

#: Newton steps at most, and the change at which they end.
NEWTON, ENOUGH = 200, 1e-12
#: Temperatures are looked for between 1/50 and 50.
SLOPES = (0.02, 50.0)


def platt(p_N: NDArray[np.float64], y_N: NDArray[np.bool_]) -> Calibration:
    """Slope and shift of least log loss against Platt's smoothed targets, (n+ + 1) / (n+ + 2) and 1 / (n- + 2).

    `none` where the best slope is not above zero: probabilities that say nothing, or the opposite, stay as they are.
    """
    z_N, high = logit(p_N), int(y_N.sum())
    t_N = np.where(y_N, (high + 1) / (high + 2), 1 / (len(y_N) - high + 2))
    x_N2 = np.stack([z_N, np.ones_like(z_N)], axis=1)
    w_2 = np.array([1.0, 0.0])
    loss = _loss(x_N2 @ w_2, t_N)
    for _ in range(NEWTON):
        q_N = sigmoid(x_N2 @ w_2)
        gradient = x_N2.T @ (q_N - t_N)
        hessian = (x_N2 * (q_N * (1 - q_N))[:, None]).T @ x_N2 + 1e-10 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > ENOUGH and _loss(x_N2 @ (w_2 - size * step), t_N) > loss:
            size /= 2
        w_2 = w_2 - size * step
        now = _loss(x_N2 @ w_2, t_N)
        if loss - now < ENOUGH:
            break
        loss = now
    if w_2[0] <= 0:
        return Calibration()
    return Calibration("platt", slope=float(w_2[0]), shift=float(w_2[1]))


def _loss(z_N: NDArray[np.float64], t_N: NDArray[np.float64]) -> float:
    """Mean log loss of logits against targets that may be fractions."""
    return float(np.mean(np.logaddexp(0, z_N) - t_N * z_N))


def isotonic(p_N: NDArray[np.float64], y_N: NDArray[np.bool_]) -> Calibration:
    """The rising map of least squared error (pool adjacent violators), kept 1 / (n + 2) away from 0 and 1."""
    order = np.argsort(p_N, kind="stable")
    x_N, first_N, counts_N = np.unique(p_N[order], return_index=True, return_counts=True)
    means = np.add.reduceat(y_N[order].astype(np.float64), first_N) / counts_N
    blocks: list[tuple[float, float, int]] = []  # mean, weight, different x
    for mean, weight in zip(means.tolist(), counts_N.tolist(), strict=True):
        block = (mean, float(weight), 1)
        while blocks and blocks[-1][0] >= block[0]:
            m, w, n = blocks.pop()
            block = ((m * w + block[0] * block[1]) / (w + block[1]), w + block[1], n + block[2])
        blocks.append(block)
    edge = 1 / (len(p_N) + 2)
    values = np.clip(np.repeat([b[0] for b in blocks], [b[2] for b in blocks]), edge, 1 - edge)
    keep = np.ones(len(x_N), bool)  # the ends of each level are enough
    keep[1:-1] = (values[1:-1] != values[:-2]) | (values[1:-1] != values[2:])
    return Calibration("isotonic", x=tuple(x_N[keep].tolist()), y=tuple(values[keep].tolist()))


def temperature(p_NC: NDArray[np.float64], y_N: NDArray[np.int64]) -> Calibration:
    """The exponent of least log loss, by golden section on its logarithm."""
    logs_NC = np.log(np.clip(p_NC, LEAST, 1))

    def loss(log_slope: float) -> float:
        z_NC = np.exp(log_slope) * logs_NC
        top_N = z_NC.max(axis=1)
        total_N = top_N + np.log(np.exp(z_NC - top_N[:, None]).sum(axis=1))
        return float(np.mean(total_N - z_NC[np.arange(len(y_N)), y_N]))

    low, high, golden = np.log(SLOPES[0]), np.log(SLOPES[1]), (np.sqrt(5) - 1) / 2
    while high - low > 1e-9:  # noqa: PLR2004 - far below what the data can tell
        a, b = high - golden * (high - low), low + golden * (high - low)
        if loss(a) <= loss(b):
            high = b
        else:
            low = a
    return Calibration("temperature", slope=float(np.exp((low + high) / 2)))
