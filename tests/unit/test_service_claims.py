"""Claims on jobs: locks that live exactly as long as their process."""

import os
import signal
import subprocess
import sys

from pipelines.service.claims import Claim, holder

CHILD = """
import sys
from pipelines.service.claims import Claim
claim = Claim.inherited(int(sys.argv[1]))
print("mine", flush=True)
sys.stdin.read()
"""


def test_a_claim_is_of_one_holder_and_free_afterwards(tmp_path):
    with Claim.take(tmp_path) as claim:
        assert claim is not None
        assert Claim.take(tmp_path) is None
        assert holder(tmp_path) == 0  # held, but no driver has said its pid

    assert holder(tmp_path) is None
    assert Claim.take(tmp_path) is not None


def test_a_claim_that_is_handed_on_is_held_without_a_gap_until_its_process_is_killed(tmp_path):
    claim = Claim.take(tmp_path)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(claim.fd)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[claim.fd]
    )
    claim.close()
    assert Claim.take(tmp_path) is None
    assert child.stdout.readline() == b"mine\n"

    assert holder(tmp_path) == child.pid
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    assert holder(tmp_path) is None
