"""What this machine has and lacks: for the base installation, for each stage, and for the optional parts.

Nothing heavy is imported: whether a module is there is asked of the import system. Ray alone is imported, in a
process of its own, because a wheel that is installed need not start.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from pipelines.quantities import size
from stages.base import Stage
from stages.catalog import catalog
from stages.errors import SpecError

_MEMORY = 2_000_000_000
_SHARED_MEMORY = 200_000_000
_DISK = 5_000_000_000
_IMPORT_SECONDS = 60
_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked for. `needed` is False for what only some specs or tests use."""

    name: str
    ok: bool
    found: str
    advice: str
    needed: bool = True

    def json(self) -> dict[str, Any]:
        """The check as data."""
        return asdict(self)


def doctor(store: str | None = None) -> list[Check]:
    """Everything that is looked for on this machine; `store` is where runs will be written, if known."""
    checks = [_python(), _memory(), _shared_memory(), *_folders(store), _ray()]
    checks += [check for name, cls in catalog().items() for check in _stage(name, cls)]
    return [*checks, *_optional()]


def _python() -> Check:
    ok = sys.version_info[:2] == _PYTHON
    return Check("python", ok, platform.python_version(), f"install Python {'.'.join(map(str, _PYTHON))}")


def _memory() -> Check:
    free = psutil.virtual_memory().available
    return Check("memory", free >= _MEMORY, f"{size(free)} free", f"free {size(_MEMORY)} or give fewer --workers")


def _shared_memory() -> Check:
    place = Path("/dev/shm")  # noqa: S108 - looked at, not written to
    if not place.is_dir():
        return Check("shared memory", ok=False, found="no /dev/shm", advice="use --engine local", needed=False)
    free = shutil.disk_usage(place).free
    advice = f"Ray wants {size(_SHARED_MEMORY)}: start the container with --shm-size=256m, or use --engine local"
    return Check("shared memory", free >= _SHARED_MEMORY, f"{size(free)} free", advice, needed=False)


def _folders(store: str | None) -> Iterator[Check]:
    """Places that are written to: the compiler's cache, temporary files, the store."""
    from stages.kernels import cache  # noqa: PLC0415 - it points numba to the folder

    advice = "set NUMBA_CACHE_DIR to a folder that can be written, or kernels compile again at every start"
    yield _writable("compiler cache", cache.folder(), advice)
    yield _writable("temporary files", Path(tempfile.gettempdir()), "set TMPDIR to a folder that can be written")
    if store is not None and "://" not in store:
        yield _writable("store", Path(store), "choose another --store")
        free = shutil.disk_usage(_existing(Path(store))).free
        advice = "a run writes about twice its text; free some, or choose another --store"
        yield Check("disk of the store", free >= _DISK, f"{size(free)} free", advice)


def _writable(name: str, place: Path, advice: str) -> Check:
    there = _existing(place)
    return Check(name, there.is_dir() and os.access(there, os.W_OK), str(place), advice)


def _existing(place: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(p for p in (place.absolute(), *place.absolute().parents) if p.exists())


def _ray() -> Check:
    advice = "reinstall with `pip install ray`, or use --engine local"
    if importlib.util.find_spec("ray") is None:
        return Check("ray", ok=False, found="not installed", advice=advice)
    command = [sys.executable, "-c", "import ray; print(ray.__version__)"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_IMPORT_SECONDS, check=False)  # noqa: S603 - our own interpreter
    except subprocess.TimeoutExpired:
        return Check("ray", ok=False, found=f"its import takes more than {_IMPORT_SECONDS} s", advice=advice)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["it stopped without a word"]
        return Check("ray", ok=False, found=last[0], advice=advice)
    return Check("ray", ok=True, found=done.stdout.strip(), advice=advice)


def _stage(name: str, cls: type[Stage]) -> Iterator[Check]:
    """What a stage needs beyond the base installation: modules, files, and the models of its default fields."""
    for what in cls.requires:
        ok, found = _there(what)
        advice = f"needed by specs with kind: {name}; install it with `pip install {what.partition('.')[0]}`"
        yield Check(f"{name}: {what}", ok, found, advice, needed=False)
    if any(field.is_required() for field in cls.model_fields.values()):
        return
    try:
        artifacts = cls().artifacts()  # type: ignore[call-arg]  # every field has a default
    except SpecError as error:
        yield Check(f"{name}: models", ok=False, found="missing", advice=error.message, needed=False)
        return
    for role, digest in artifacts.items():
        yield Check(f"{name}: {role}", ok=True, found=digest[:16], advice="")


def _there(what: str) -> tuple[bool, str]:
    """Whether a module can be imported or a file is there."""
    if "/" in what:
        return Path(what).exists(), what if Path(what).exists() else "no such file"
    try:
        spec = importlib.util.find_spec(what)
    except ModuleNotFoundError:
        spec = None
    return (True, "installed") if spec else (False, "not installed")


def _optional() -> Iterator[Check]:
    compiler = shutil.which("gcc") or shutil.which("cc")
    advice = "apt-get install gcc: some packages are built from source where no wheel fits"
    yield Check("C compiler", compiler is not None, compiler or "not found", advice, needed=False)
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    advice = "apt-get install chromium: only tests of the report use it"
    yield Check("browser", browser is not None, browser or "not found", advice, needed=False)
    torch = importlib.util.find_spec("torch") is not None
    advice = "pip install 'tamis[trainer]': only ablations use it"
    yield Check("torch", torch, "installed" if torch else "not installed", advice, needed=False)
