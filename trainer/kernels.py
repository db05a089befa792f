"""What surrounds matrix products in a decoder on CPUs: each a single pass over memory, 32 bits, one thread.

torch needs five to ten passes for each of these, which on one core cost as much as the products do. Arrays are C-contiguous;
N rows, W or D columns. Sums may be reassociated for speed, always in the same way, so equal inputs give equal bits; NaN and
infinity pass through. Each function writes to arrays that it is given.
"""


# numba infers the types of its numbers, which mypy takes for Python's
# mypy: ignore-errors

import functools
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

_f4 = np.float32
_Array = NDArray[Any]
_Turn = tuple[bool, _Array, _Array]  # whether to, places [N], cosines and sines by position [2, T, D / 2]
_Norm = tuple[_Array, _f4]  # weights of queries and keys [2, D], epsilon, negative for none
#: Sums in any order, fused multiply-adds; NaN and infinity keep their meaning.
_FAST = {"reassoc", "contract", "nsz"}
_LOG2_E, _LN2_HIGH, _LN2_LOW = _f4(1.4426950408889634), _f4(0.693359375), _f4(-2.12194440e-4)
_P0, _P1, _P2 = _f4(1.9875691500e-4), _f4(1.3981999507e-3), _f4(8.3334519073e-3)
_P3, _P4, _P5 = _f4(4.1665795894e-2), _f4(1.6666665459e-1), _f4(5.0000001201e-1)
_NIL, _ONE, _HALF, _LOWEST, _HIGHEST = _f4(0), _f4(1), _f4(0.5), _f4(-87.3), _f4(88.3)
_kernel = functools.partial(njit, cache=True, nogil=True, fastmath=_FAST, error_model="numpy")
#: Rows whose gradients of a weight are summed before they join the total, which keeps rounding small.
_ROWS = 64


def number(value: float) -> np.float32:
    """A number as the kernels take it."""
    return np.float32(value)


@intrinsic
def _as_float(_context: Any, _bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def code(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), code


@njit(cache=True, nogil=True, fastmath={"contract", "nsz"})
def _exp(x: _f4) -> _f4:
    """The exponential within one unit in the last place between -87.3 and 88.3, clamped outside (Cephes' expf); it vectorizes."""
    inside = min(max(x, _LOWEST), _HIGHEST)
    n = np.floor(inside * _LOG2_E + _HALF)
    r = inside - n * _LN2_HIGH
    r = r - n * _LN2_LOW
    p = ((((_P0 * r + _P1) * r + _P2) * r + _P3) * r + _P4) * r + _P5
    p = p * r * r + r + _ONE + (x - inside) * _NIL  # NaN, and infinities too, stay visible
    return p * _as_float(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))


@njit(cache=True, nogil=True, fastmath=True)
def _highest(x_V: _Array) -> _f4:
    """The highest value; NaN is not seen here, but in the sum of exponentials."""
    highest = x_V[0]
    for i in range(x_V.size):
        highest = max(highest, x_V[i])
    return highest


@_kernel()
def norm_forward(x_NW: _Array, w_W: _Array, epsilon: _f4, y_NW: _Array, r_N: _Array) -> None:
    """Rows times their r, which is 1 / root mean square, times the weight."""
    for n in range(x_NW.shape[0]):
        x, y = x_NW[n], y_NW[n]
        total = _NIL
        for i in range(x.size):
            total += x[i] * x[i]
        r = _ONE / np.sqrt(total / _f4(x.size) + epsilon)
        for i in range(x.size):
            y[i] = x[i] * r * w_W[i]
        r_N[n] = r


@_kernel()
def norm_backward(x_NW: _Array, w_W: _Array, r_N: _Array, dy_NW: _Array, dx_NW: _Array, dw_W: _Array) -> None:
    """Gradients of the input and, added to what is there, of the weight."""
    part_W = np.zeros_like(dw_W)
    for n in range(x_NW.shape[0]):
        x, dy, dx, r = x_NW[n], dy_NW[n], dx_NW[n], r_N[n]
        total = _NIL
        for i in range(x.size):
            total += dy[i] * w_W[i] * x[i]
        along = r * r * r * total / _f4(x.size)
        for i in range(x.size):
            part_W[i] += dy[i] * x[i] * r
            dx[i] = dy[i] * w_W[i] * r - x[i] * along
        if n % _ROWS == _ROWS - 1 or n == x_NW.shape[0] - 1:
            dw_W += part_W
            part_W[:] = _NIL


@_kernel()
def heads_forward(x_NCD: _Array, turn: _Turn, norm: _Norm, results: tuple[_Array, ...]) -> None:
    """Split rows of C = H + 2 G heads; queries and keys normalized (epsilon >= 0) and turned by their place's angles.

    results: queries [N, H, D], keys and values [N, G, D], 1 / root mean square of queries and keys [N, H + G].
    """
    turned, places_N, tables_2TE = turn
    weights_2D, epsilon = norm
    q_NHD, k_NGD, v_NGD, r_NJ = results
    queries, shared = q_NHD.shape[1], k_NGD.shape[1]
    half = x_NCD.shape[2] // 2
    for n in range(x_NCD.shape[0]):
        cosines, sines = tables_2TE[0, places_N[n]], tables_2TE[1, places_N[n]]
        for c in range(queries + shared):
            x = x_NCD[n, c]
            y = q_NHD[n, c] if c < queries else k_NGD[n, c - queries]
            w = weights_2D[0] if c < queries else weights_2D[1]
            r = _ONE
            if epsilon >= _NIL:
                total = _NIL
                for i in range(x.size):
                    total += x[i] * x[i]
                r = _ONE / np.sqrt(total / _f4(x.size) + epsilon)
            r_NJ[n, c] = r
            if turned:
                for i in range(half):
                    first, second = x[i] * r * w[i], x[half + i] * r * w[half + i]
                    y[i] = first * cosines[i] - second * sines[i]
                    y[half + i] = second * cosines[i] + first * sines[i]
            else:
                for i in range(x.size):
                    y[i] = x[i] * r * w[i]
        for c in range(shared):
            v_NGD[n, c, :] = x_NCD[n, queries + shared + c]


@_kernel()
def heads_backward(
    x_NCD: _Array, turn: _Turn, norm: _Norm, given: tuple[_Array, ...], results: tuple[_Array, ...]
) -> None:
    """Gradients of the rows and, added to what is there, of the two weights (queries', keys').

    given: the last result of `heads_forward`, then the gradients of the others.
    """
    turned, places_N, tables_2TE = turn
    weights_2D, epsilon = norm
    r_NJ, dq_NHD, dk_NGD, dv_NGD = given
    dx_NCD, dw_2D = results
    queries, shared, width = dq_NHD.shape[1], dk_NGD.shape[1], x_NCD.shape[2]
    half = width // 2
    d = np.empty(width, np.float32)
    part_2D = np.zeros_like(dw_2D)
    for n in range(x_NCD.shape[0]):
        cosines, sines = tables_2TE[0, places_N[n]], tables_2TE[1, places_N[n]]
        for c in range(queries + shared):
            x, dx, r = x_NCD[n, c], dx_NCD[n, c], r_NJ[n, c]
            dy = dq_NHD[n, c] if c < queries else dk_NGD[n, c - queries]
            w = weights_2D[0] if c < queries else weights_2D[1]
            part = part_2D[0] if c < queries else part_2D[1]
            if turned:
                for i in range(half):
                    d[i] = dy[i] * cosines[i] + dy[half + i] * sines[i]
                    d[half + i] = dy[half + i] * cosines[i] - dy[i] * sines[i]
            else:
                d[:] = dy
            along = _NIL
            if epsilon >= _NIL:
                for i in range(width):
                    along += d[i] * w[i] * x[i]
                along = r * r * r * along / _f4(width)
            for i in range(width):
                part[i] += d[i] * x[i] * r
                dx[i] = d[i] * w[i] * r - x[i] * along
        for c in range(shared):
            dx_NCD[n, queries + shared + c, :] = dv_NGD[n, c]
        if n % _ROWS == _ROWS - 1 or n == x_NCD.shape[0] - 1:
            dw_2D += part_2D
            part_2D[:] = _NIL


@_kernel()
def swiglu_forward(x_NI: _Array, y_NH: _Array) -> None:
    """The silu of each row's first half times its second half."""
    hidden = y_NH.shape[1]
    opened = np.empty(hidden, np.float32)
    for n in range(x_NI.shape[0]):
        gate, up, y = x_NI[n, :hidden], x_NI[n, hidden:], y_NH[n]
        for i in range(hidden):
            opened[i] = _ONE / (_ONE + _exp(-gate[i]))
        for i in range(hidden):
            y[i] = gate[i] * opened[i] * up[i]


@_kernel()
def swiglu_backward(x_NI: _Array, dy_NH: _Array, dx_NI: _Array) -> None:
    """The gradient of both halves."""
    hidden = dy_NH.shape[1]
    opened = np.empty(hidden, np.float32)
    for n in range(x_NI.shape[0]):
        gate, up, dy = x_NI[n, :hidden], x_NI[n, hidden:], dy_NH[n]
        dgate, dup = dx_NI[n, :hidden], dx_NI[n, hidden:]
        for i in range(hidden):
            opened[i] = _ONE / (_ONE + _exp(-gate[i]))
        for i in range(hidden):
            dup[i] = dy[i] * gate[i] * opened[i]
        for i in range(hidden):
            dgate[i] = dy[i] * up[i] * opened[i] * (_ONE + gate[i] * (_ONE - opened[i]))


@_kernel()
def entropy_forward(x_NV: _Array, targets_N: _Array, nats_N: _Array, sums_N: _Array) -> None:
    """Losses of logits, which become exp(logit - highest), whose sums are kept."""
    for n in range(x_NV.shape[0]):
        x = x_NV[n]
        highest = _highest(x)
        target = x[targets_N[n]] - highest
        total = _NIL
        for i in range(x.size):
            x[i] = _exp(x[i] - highest)
            total += x[i]
        sums_N[n] = total
        nats_N[n] = np.log(total) - target


@_kernel()
def entropy_backward(x_NV: _Array, targets_N: _Array, sums_N: _Array, d_N: _Array) -> None:
    """What `entropy_forward` left becomes the gradient of the logits, for gradients d of the losses."""
    for n in range(x_NV.shape[0]):
        x, factor = x_NV[n], d_N[n] / sums_N[n]
        for i in range(x.size):
            x[i] *= factor
        x[targets_N[n]] -= d_N[n]
