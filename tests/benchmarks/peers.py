"""The tools that we compare ourselves with, each in its own virtual environment below `bench-work/`."""

import os
import subprocess
import sys
from pathlib import Path

#: torch is pinned in each, because other builds bring gigabytes of GPU libraries along.
TORCH = "torch==2.13.0"
REQUIREMENTS = {
    "datatrove": ("datatrove[io,processing]==0.10.1", TORCH, "spacy", "nltk", "orjson", "tldextract", "ftfy", "kenlm", "regex"),
    "data-juicer": ("py-data-juicer==1.6.1", "aiohttp", TORCH),
    "rensa": ("rensa==0.5.0",),
}  # fmt: skip


def peer_python(name: str) -> Path:
    """The Python of the peer's environment, made on first use."""
    folder = Path(os.environ.get("TAMIS_BENCH_WORK", "bench-work")).resolve() / "peers" / name
    python, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = "\n".join(REQUIREMENTS[name])
    if not stamp.is_file() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS[name]], check=True)
        stamp.write_text(wanted)
    return python
