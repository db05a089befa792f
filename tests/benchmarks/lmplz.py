"""lmplz, built from kenlm's source distribution: needs cmake, a C++ compiler, and the headers of boost, eigen and zlib."""

import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

VERSION = "0.3.0"
#: Debian's names of what building needs.
PACKAGES = "cmake g++ libboost-program-options-dev libboost-system-dev libboost-thread-dev libboost-test-dev libeigen3-dev zlib1g-dev libbz2-dev liblzma-dev"


def lmplz(folder: Path) -> Path | None:
    """The program, built below a folder on first use (about 75 s); None where it cannot be built."""
    found = shutil.which("lmplz")
    if found:
        return Path(found)
    program = folder / "kenlm" / "build" / "bin" / "lmplz"
    if program.is_file():
        return program
    if not (shutil.which("cmake") and shutil.which("c++")):
        return None
    home = folder / "kenlm"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    fetch = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-binary",
        "kenlm",
    ]
    try:
        subprocess.run([*fetch, "--dest", home, f"kenlm=={VERSION}"], check=True, capture_output=True)
        with tarfile.open(next(home.glob("kenlm-*.tar.gz"))) as source:
            source.extractall(home, filter="data")
        options = ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF", "-DCMAKE_POLICY_VERSION_MINIMUM=3.5"]
        configure = ["cmake", *options, "-S", home / f"kenlm-{VERSION}", "-B", home / "build"]
        subprocess.run(configure, check=True, capture_output=True)
        subprocess.run(
            ["cmake", "--build", home / "build", "--target", "lmplz", "build_binary"], check=True, capture_output=True
        )
    except (subprocess.CalledProcessError, StopIteration):
        return None
    return program if program.is_file() else None
