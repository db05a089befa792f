"""How functions that only kernels call are compiled: as far as they are linked into kernels, and no further.

numba makes machine code of every function, although what runs of an inner function is its copy in the kernels that it
is linked into, and writes it to the cache. This leaves that out. What is linked is optimised first, as ever: kernels that link it
as it comes compile 5 % faster, and run slower, by 5 % (words) to 40 % (n-grams of characters).
"""

# numba is untyped, and what is replaced of it is private
# mypy: ignore-errors

from typing import Any

from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import LoweringPass, register_pass
from numba.core.typed_passes import NativeLowering


class _NoMachineCode:
    """Takes the place of a library's generator of code, which is asked for no more than this after lowering."""

    def set_env(self, name: str, environment: Any) -> None:
        """Nothing to set: code that does not run needs no globals."""


class LinkedLibrary(JITCodeLibrary):
    """Code that is linked into other libraries and never runs by itself."""

    @property
    def codegen(self) -> _NoMachineCode:
        """See `_NoMachineCode`."""
        return _NoMachineCode()

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:  # noqa: ARG002 - numba's signature
        """0, which says that there is none."""
        self._ensure_finalized()
        return 0


@register_pass(mutates_CFG=False, analysis_only=False)
class _LinkedLowering(LoweringPass):
    """Gives the lowering pass, which comes next, a `LinkedLibrary` to fill."""

    _name = "linked_lowering"

    def __init__(self) -> None:
        LoweringPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        """Make the library."""
        state.library = LinkedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return False


class LinkedCompiler(CompilerBase):
    """The compiler of inner functions: numba's own, with another library to put the code in."""

    def define_pipelines(self) -> list[Any]:
        """The usual passes, with one more before lowering."""
        manager = DefaultPassBuilder.define_nopython_pipeline(self.state)
        at = [kind for kind, _ in manager.passes].index(NativeLowering)
        manager.passes.insert(at, (_LinkedLowering, "prepare a library for linking"))
        manager.finalize()
        return [manager]
