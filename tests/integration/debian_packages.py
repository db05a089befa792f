"""Programs that tests need, from Debian's packages where root may install them; one process at a time installs."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path
from tempfile import gettempdir


def program(names: tuple[str, ...], packages: tuple[str, ...]) -> str | None:
    """The first of the programs that there is, installed if there was none; None where that is not possible."""
    found = _found(names)
    if found is not None or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return found
    with (Path(gettempdir()) / "tamis-tests-apt.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _found(names) is None:
            wait = ("-o", "DPkg::Lock::Timeout=120")
            for command in (("update", "-qq"), ("install", "-y", "-qq", "--no-install-recommends", *packages)):
                done = subprocess.run(["apt-get", *wait, *command], capture_output=True, timeout=240, check=False)
                if done.returncode:
                    break
    return _found(names)


def _found(names: tuple[str, ...]) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)
