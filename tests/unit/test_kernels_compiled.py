"""What holds of the kernels as they are compiled, whatever they compute."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stages.kernels.peek import copy, kernel

WARM = "from stages.kernels.warm import compile_all; compile_all()"
#: Prints the kernels that are kept in the cache with more or fewer signatures than one.
SIGNATURES = """
import sys
from stages.kernels.warm import compile_all
compile_all()
for name, module in list(sys.modules.items()):
    for key, value in vars(module).items() if name.startswith("stages.kernels.") else ():
        kept = hasattr(value, "signatures") and not value.targetoptions.get("no_cpython_wrapper")
        if kept and value.__module__ == name and len(value.signatures) != 1:
            print(name.rpartition(".")[2] + "." + key)
"""


def python(code: str, cache: Path) -> str:
    env = os.environ | {"NUMBA_CACHE_DIR": str(cache)}
    return subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True).stdout


@kernel()
def shifted(values, other):
    copy(values, 1, values, 0, values.size - 1)
    copy(values, 0, other, other.size - 1, 1)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int32, np.uint64, np.float64])
def test_copied_items_may_overlap_those_that_they_replace(kind):
    values, other = np.arange(7).astype(kind), np.array([[8, 9]], kind)

    shifted(values, other[0])

    assert values.tolist() == [9, 0, 1, 2, 3, 4, 5]


@pytest.mark.long
def test_every_kept_kernel_has_one_signature_so_that_processes_may_compile_at_once(tmp_path):
    assert python(SIGNATURES, tmp_path).split() == ["minhash.sign_hashes"]  # signs SHA-1, of Python, on first use


@pytest.mark.long
def test_kernels_compiled_once_are_loaded_by_later_processes(tmp_path):
    python(WARM, tmp_path)
    first = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nbc")}

    python(WARM, tmp_path)

    assert first
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*.nbc")} == first
