"""Loads and stores at an address, for kernels that walk over buffers.

Inner functions take addresses (plain integers) instead of arrays: passing an array costs reference counts and a dozen
arguments a call, which for functions of a few instructions is most of their time, and twice the compilation. The
arrays must outlive the call; only kernels' outermost functions, which hold the arrays, take their addresses.
"""

import functools
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]  # it has no stubs
from numba import njit, types
from numba.extending import intrinsic

#: For the functions that Python calls.
kernel = functools.partial(njit, nogil=True, cache=True)
#: For the functions that only kernels call: no wrappers to compile.
inner = functools.partial(njit, nogil=True, cache=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def _load(name: str, bits: int, *, wide: Any) -> Any:
    def load(_context: Any, _address: Any, _i: Any) -> Any:
        def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            base = builder.inttoptr(arguments[0], ir.IntType(bits).as_pointer())
            value = builder.load(builder.gep(base, [arguments[1]]), align=bits // 8 if bits < 64 else 1)
            return value if bits == 64 else builder.zext(value, ir.IntType(64))

        return wide(types.int64, types.int64), generate

    load.__name__ = load.__qualname__ = name
    return intrinsic(load)


u8 = _load("u8", 8, wide=types.int64)
u16 = _load("u16", 16, wide=types.int64)
u32 = _load("u32", 32, wide=types.int64)
u64 = _load("u64", 64, wide=types.uint64)


@intrinsic
def put64(_context: Any, _address: Any, _i: Any, _value: Any) -> Any:
    """Store an unsigned 64-bit number at the i-th place from an address."""

    def generate(_target: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        base = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        builder.store(arguments[2], builder.gep(base, [arguments[1]]), align=8)
        return _target.get_dummy_value()

    return types.void(types.int64, types.int64, types.uint64), generate
