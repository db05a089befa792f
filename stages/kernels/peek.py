"""Loads and stores at an address, for kernels that walk over buffers.

Inner functions take addresses (plain integers) instead of arrays: passing an array costs reference counts and a dozen
arguments a call, which for functions of a few instructions is most of their time, and twice the compilation. The
arrays must outlive the call; only kernels' outermost functions, which hold the arrays, take their addresses.
"""

import functools
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]  # it has no stubs
from numba import njit, types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from stages.kernels.linked import LinkedCompiler

#: For the functions that Python calls.
kernel = functools.partial(njit, nogil=True, cache=True)
#: For the functions that only kernels call: no wrappers to compile.
inner = functools.partial(
    njit, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True, pipeline_class=LinkedCompiler
)


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


@intrinsic
def copy(_context: Any, to: Any, _at: Any, source: Any, _begin: Any, _count: Any) -> Any:
    """Copy `count` items of an array, from the item `begin` on, to the item `at` of another or the same, and after.

    What numba compiles for `to[a:b] = source[c:d]` is mostly the sentence that it says where the lengths differ, and
    takes two seconds; for `np.concatenate` it is not much less.
    """
    if not (to.layout == source.layout == "C" and to.dtype == source.dtype):
        message = f"{source} cannot be copied to {to}"
        raise TypingError(message)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2))
        target, begin = (builder.gep(a.data, [i]) for a, i in zip(arrays, (arguments[1], arguments[3]), strict=True))
        size = context.get_abi_sizeof(context.get_data_type(to.dtype))
        cgutils.raw_memmove(builder, target, begin, arguments[4], size)  # type: ignore[no-untyped-call]  # numba
        return context.get_dummy_value()

    return types.void(to, types.int64, source, types.int64, types.int64), generate
