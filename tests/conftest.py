"""What tests share: a store, a real S3 server, one Ray for the session, and the count of what was skipped."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipelines.store import Store

PLUGIN = Path(__file__).parent / "plugin"
TAMIS = Path(sys.executable).parent / "tamis"
Command = Callable[..., subprocess.CompletedProcess[str]]
WriteJsonl = Callable[[str, list[dict[str, Any]]], Path]

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # as whatever a shell starts in the background, with all of its children
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "store")


@pytest.fixture
def tamis(tmp_path: Path) -> Command:
    """`tamis ARGS...` as people run it, with the stages of another distribution installed."""

    def call(*args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        found = {**os.environ, "PYTHONPATH": str(PLUGIN), "TAMIS_STORE": str(tmp_path / "store"), **(env or {})}
        command = [str(TAMIS), *map(str, args)]
        return subprocess.run(
            command, capture_output=True, text=True, env=found, cwd=tmp_path, timeout=240, check=False
        )

    return call


@pytest.fixture
def write_jsonl(tmp_path: Path) -> WriteJsonl:
    """Write records as JSON lines below the test's folder."""

    def write(name: str, records: list[dict[str, Any]]) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), encoding="utf-8")
        return path

    return write


@pytest.fixture
def corpus(write_jsonl: WriteJsonl) -> Path:
    """Three files in several scripts, with exact duplicates across files; gives their folder."""
    sentences = [
        "The sieve lets the fine flour through and keeps the bran.",
        "Le tamis laisse passer la farine fine et retient le son.",
        "篩は細かい粉を通し、ふすまを残す。",
        "المنخل يمرر الدقيق الناعم ويحتفظ بالنخالة.",
        "Сито пропускает мелкую муку и задерживает отруби. 🌾",
    ]
    folder = Path()
    for f in range(3):
        records = []
        for i in range(40):
            text = f"{sentences[(f + i) % 5]} " * (1 + i % 7) + ("" if i % 10 == 0 else f"{f}-{i}")
            records.append({"id": f"{f}:{i}", "text": text, "lang": "en", "extra": {"n": i}})
        folder = write_jsonl(f"corpus/part-{f}.jsonl", records).parent
    return folder


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished run over a small hostile corpus: scripts, copies, ids used twice, malformed lines, markup."""
    from pipelines.api import run, view  # noqa: PLC0415  # only tests of readers need a run
    from pipelines.run import Options  # noqa: PLC0415  # the same

    folder = tmp_path_factory.mktemp("finished")
    for name, lines in _hostile_files().items():
        (folder / name).write_text("\n".join(lines), encoding="utf-8")
    spec = {
        "name": "hostile",
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl"), "shard_bytes": 8_000},
        "measure": {
            "clean": {"kind": "normalize", "ftfy": False, "control": False},
            "copies": {"kind": "exact_duplicates"},
        },
        "keep": [
            {"column": "leaving.bytes", "ge": 100, "on_null": "drop", "reason": "size/short", "cite": "<i>ours</i>"},
            {"column": "leaving.bytes", "le": "p80", "per": "lang", "on_null": "keep", "reason": "size/long"},
            {"column": "lang", "in": ["en", "ja", "ar", "ru"], "on_null": "keep", "reason": "language"},
            {"column": "clean.changed", "eq": False, "on_null": "keep", "where": {"lang": "ru"}, "reason": "untidy"},
            {"one_of": "copies.cluster", "by": "longest", "reason": "copy"},
        ],
    }
    done = run(spec, store=folder / "store", options=Options("local", 2))
    return view(done["run"], store=folder / "store")


def _hostile_files() -> dict[str, list[str]]:
    """Lines of two files: 130 documents and 3 lines that are none."""
    sentences = {
        "en": "The sieve lets the fine flour through and keeps the bran. ",
        "ja": "篩は細かい粉を通し、ふすまを残す。",
        "ar": "المنخل يمرر الدقيق الناعم ويحتفظ بالنخالة. ",
        "ru": "Сито пропускает мелкую муку. 🌾 е\u0301  \n",
        "fr": "Le tamis laisse passer la farine fine. ",
        None: "👩\u200d🌾 नमस्ते दुनिया ",
    }
    langs = list(sentences)
    records = [
        {"id": f"doc-{i}", "lang": langs[i % 6], "text": sentences[langs[i % 6]] * (1 + i % 11) + str(i), "n": i}
        for i in range(100)
    ]
    records += [{"id": f"copy-{i}", "lang": "en", "text": sentences["en"] * 4} for i in range(20)]
    markup = "</pre></script><script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe\u202c \x1b[31m \x07 "
    hostile = {"id": "<b onclick=x>id</b>\u202e", "url": "javascript:alert(3)", "source": "<u>src</u>", "lang": "en"}
    records += [{**hostile, "text": markup * 2 + f"[bold]{i}[/bold] {{{{7*7}}}} z" + "\u0301" * 40} for i in range(8)]
    records += [{"id": "twice", "lang": "en", "text": sentences["en"] * 3 + name} for name in ("one", "two")]
    lines = [json.dumps(record, ensure_ascii=False) for record in records]
    broken = ['{"id": "cut", "text": "no end', '{"id": "no-text", "title": "<b>x</b>"}', "[1, 2, 3]"]
    return {"a.jsonl": lines[:70] + broken, "b.jsonl": lines[70:]}


@pytest.fixture(scope="session")
def s3_server() -> Iterator[dict[str, Any]]:
    """A real S3 server on loopback. While it runs, the environment names it, so that `s3://` opens there."""
    program = shutil.which("moto_server", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("no S3 server: moto is not installed")
    port = _free_port()
    endpoint = f"http://127.0.0.1:{port}"
    env = {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "TAMIS_S3_RETRIES": "2",
    }
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    before = {name: os.environ.get(name) for name in env}
    try:
        _await(endpoint + "/moto-api/")
        os.environ.update(env)
        _make_bucket(endpoint, "corpus")
        yield {"endpoint": endpoint, "bucket": "corpus", "env": env}
    finally:
        server.kill()
        server.wait()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@pytest.fixture(scope="session")
def ray_engine() -> Iterator[Any]:
    """One embedded Ray for the whole session: it takes seconds to start."""
    from pipelines.engine_ray import RayEngine  # noqa: PLC0415  # importing Ray takes a second

    engine = RayEngine(2)
    try:
        yield engine
    finally:
        engine.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked `gpu` where there is none; where there is one, the compiler's advice to round to TF32 is no error."""
    marked = [item for item in items if item.get_closest_marker("gpu") is not None]
    if not marked:
        return
    import torch  # noqa: PLC0415  # it takes seconds to load

    there = torch.cuda.is_available()
    mark = pytest.mark.filterwarnings("ignore:TensorFloat32") if there else pytest.mark.skip(reason="there is no GPU")
    for item in marked:
        item.add_marker(mark)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Count what was skipped, by reason, so that nothing is left out silently."""
    skipped = terminalreporter.stats.get("skipped", [])
    if not skipped:
        return
    reasons = Counter(_reason(report) for report in skipped)
    terminalreporter.section(f"{len(skipped)} tests skipped")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:5d}  {reason}")


def _reason(report: Any) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _await(url: str, seconds: float = 30) -> None:
    """Return once the server answers."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            with urllib.request.urlopen(url, timeout=seconds):
                return
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _make_bucket(endpoint: str, name: str) -> None:
    """Create a bucket; the header only tells the server that S3 is meant."""
    request = urllib.request.Request(f"{endpoint}/{name}", method="PUT")
    request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request")
    with urllib.request.urlopen(request):
        pass
