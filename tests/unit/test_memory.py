"""A training process keeps the memory that it frees."""

import subprocess
import sys

PROGRAM = """
import resource, sys
import numpy as np
from trainer.memory import keep_freed_memory

if sys.argv[1] == "keep":
    assert keep_freed_memory()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

np.ones(1 << 24)
before = faults()
for _ in range(3):
    np.ones(1 << 24)
print(faults() - before)
"""


def test_freed_memory_is_used_again_without_page_faults():
    def faults(how):
        command = [sys.executable, "-c", PROGRAM, how]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < 100 < faults("return")
