"""A PostgreSQL server of a test's own, from Debian's package."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from debian_packages import program

HOMES = Path("/usr/lib/postgresql")


def binaries() -> Path | None:
    """Where PostgreSQL's programs are, installed if they were not and that is possible."""
    if not any(HOMES.glob("*/bin/initdb")):
        program(("pg_ctlcluster",), ("postgresql",))
    found = sorted(HOMES.glob("*/bin/initdb"), key=lambda p: int(p.parent.parent.name))
    return found[-1].parent if found else None


@contextmanager
def postgres(home: Path) -> Iterator[str]:
    """A server on loopback; gives the URL of an empty database. It refuses to run as root, so it does not."""
    user = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="tamis-postgres-"))
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, settings = folder / "data", {"capture_output": True, "user": user, "cwd": folder}
    subprocess.run([home / "initdb", "-D", data, "-A", "trust", "-U", "tamis", "--no-sync"], check=True, **settings)
    options = f"-h 127.0.0.1 -p {port} -k {folder} -c fsync=off"
    control = [home / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    subprocess.run([*control, "-o", options, "start"], check=True, **settings)
    try:
        yield f"postgresql+pg8000://tamis@127.0.0.1:{port}/postgres"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], check=True, **settings)
        shutil.rmtree(folder)
