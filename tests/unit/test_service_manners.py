"""That a service answers at once, and that its jobs let it go first."""

import asyncio
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from service_runs import looped

from pipelines.service.driver import NICENESS
from pipelines.service.server import listen
from pipelines.service.settings import Settings

AUTOGROUP = Path("/proc/self/autogroup")
STEPPED = """
import os
from pathlib import Path
from pipelines.service.driver import step_back
step_back()
group = Path("/proc/self/autogroup")
print(os.getpriority(os.PRIO_PROCESS, 0), group.read_text() if group.exists() else "")
"""


def test_small_answers_wait_for_no_acknowledgement(tmp_path):
    async def connected():
        found = asyncio.get_running_loop().create_future()

        def taken(_, writer):
            found.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = listen(Settings("store", tmp_path, port=0))
        async with await asyncio.start_server(taken, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            try:
                return await found
            finally:
                writer.close()

    assert looped(connected()) != 0


def stepped(*, leads: bool):
    done = subprocess.run(
        [sys.executable, "-c", STEPPED], capture_output=True, text=True, check=True, start_new_session=leads
    )
    nice, _, group = done.stdout.strip().partition(" ")
    return int(nice), group


def test_a_driver_steps_back_as_a_process_and_as_the_session_that_it_leads():
    nice, group = stepped(leads=True)
    assert nice == max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0))
    if not AUTOGROUP.exists():
        pytest.skip("this kernel shares processors among processes alone")
    assert group.endswith(f"nice {NICENESS}")


def test_a_driver_in_somebody_else_s_session_leaves_that_alone():
    nice, group = stepped(leads=False)
    assert nice >= NICENESS
    assert group == (AUTOGROUP.read_text().strip() if AUTOGROUP.exists() else "")
