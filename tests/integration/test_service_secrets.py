"""Secrets by reference, and what a spec may read, ask and write: by somebody who tries to reach further."""

import json
import stat
from pathlib import Path

import pytest
import yaml
from service_runs import service, spec_of, texts

from pipelines.labelling.endpoints import must_be_allowed
from pipelines.secret_values import know, redact, resolve
from pipelines.service.security.paths import OutsideRootsError, check_paths
from stages.errors import SpecError

SECRET = "sk-this-is-the-key-of-nobody"
WRONG = "tamis_000000000000_" + "x" * 43


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("secrets")


@pytest.fixture(scope="module")
def served(folder):
    with service(folder, "--endpoint", "http://127.0.0.1:9/v1", env={"NOBODYS_KEY": SECRET}) as found:
        yield found


# -- secrets --------------------------------------------------------------------------------------------------------


def profile(folder: Path, name: str, **fields: object) -> str:
    value = {"base_url": "http://127.0.0.1:9/v1", "model": "m", "prompt": "{text}", "labels": ["high", "low"]}
    (folder / name).write_text(yaml.safe_dump({**value, "retries": 0, **fields}))
    return f"llm:{folder / name}"


def test_a_secret_is_in_no_store_log_event_error_or_answer(served, folder):
    oracle = profile(folder, "key.yaml", api_key="secret://NOBODYS_KEY")
    label = {"learner": "edu", "oracle": oracle, "budget": 4, "rounds": 1, "held_out": 0}
    job = served.submit(spec_of(texts(folder), "secret", label=label))["id"]
    assert served.until(job)["state"] == "FAILED", "nobody listens at that address"
    shown = [served.get(f"/v1/runs/{job}{path}").text for path in ("", "/log", "/spec", "/steps")]
    shown += [json.dumps(list(served.events(job))), served.get("/openapi.json").text, "".join(served.log.lines)]
    assert SECRET not in "".join(shown)
    for path in (folder / "store").rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def test_a_key_that_is_written_into_a_profile_or_an_address_comes_back_in_no_error(served, folder):
    oracle = profile(folder, "plain.yaml", api_key=SECRET)
    label = {"learner": "edu", "oracle": oracle, "budget": 4, "rounds": 1}
    refused = served.post("/v1/runs", {"spec": spec_of(texts(folder), label=label)})
    assert refused.status_code == 422
    assert "secret://NAME" in refused.json()["title"]
    assert SECRET not in refused.text
    address = served.post("/v1/runs", {"spec": spec_of("ftp://me:hunter2hunter2@host/x")})
    assert address.status_code == 422
    assert "hunter2" not in address.text


def test_a_missing_secret_is_named_before_anything_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("TAMIS_SECRETS", str(tmp_path / "secrets"))
    with pytest.raises(SpecError, match="no variable 'NOT_THERE'"):
        resolve("secret://NOT_THERE", "the key")


def test_a_file_of_secrets_is_read_only_where_nobody_else_may_read_it(monkeypatch, tmp_path):
    path = tmp_path / "secrets"
    monkeypatch.setenv("TAMIS_SECRETS", str(path))
    path.write_text("# mine\nIN_A_FILE=value-in-a-file=\n")
    path.chmod(0o600)
    assert resolve("secret://IN_A_FILE", "the key") == "value-in-a-file="
    assert redact("it is value-in-a-file=.") == "it is [secret]."
    for mode in (0o640, 0o604):
        path.chmod(mode)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        with pytest.raises(SpecError, match="chmod 600"):
            resolve("secret://IN_A_FILE", "the key")
    monkeypatch.setenv("IN_A_FILE", "of the environment")
    assert resolve("secret://IN_A_FILE", "the key") == "of the environment"


def test_tokens_passwords_and_known_values_are_taken_out_of_texts():
    token = "tamis_0123456789ab_" + "s" * 43
    know("known-value")
    assert redact(f"{token} known-value") == "tamis_0123456789ab_[secret] [secret]"
    assert redact("Authorization: Bearer abcdefghijklmnop") == "Authorization: Bearer [secret]"
    assert redact("postgresql://me:pass word@h") == "postgresql://me:pass word@h", "that is no address"
    assert redact("redis://me:hunter2@h:1/2 the bearer of news") == "redis://me:[secret]@h:1/2 the bearer of news"


# -- what may be read and asked -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:10/v1",
        "http://169.254.169.254/latest",
        "http://127.0.0.1:9/v10",
        "http://me@127.0.0.1:9/v1",
        "https://127.0.0.1:9/v1",
        "http://127.0.0.1:9/v1/../x",
        "http://127.0.0.1:9/v1/%2e%2e/x",
        "http://[::1]:9/v1",
    ],
)
def test_a_model_is_asked_only_where_the_service_was_told_so(served, folder, base_url):
    label = {"learner": "edu", "oracle": profile(folder, "own.yaml", base_url=base_url), "budget": 4, "rounds": 1}
    answer = served.post("/v1/runs", {"spec": spec_of(texts(folder), label=label)})
    assert answer.status_code == 422, answer.text
    assert "--endpoint" in answer.json()["title"]


def test_an_address_below_an_allowed_one_may_be_asked():
    for url in ("https://host/v1", "https://host:443/v1/", "https://HOST/v1/chat"):
        must_be_allowed(url, ("https://host/v1/",), "p")
    must_be_allowed("http://anything", None, "p")
    with pytest.raises(SpecError):
        must_be_allowed("https://host/v1", (), "p")


SECTIONS = {
    "source": lambda path: {"source": {"kind": "jsonl", "path": path}},
    "sources": lambda path: {"sources": {"a": {"kind": "text", "path": path}}},
    "words": lambda path: {"measure": {"bad": {"kind": "bad_words", "words": path}}},
    "rules": lambda path: {"keep": [{"rules": path}]},
    "learn": lambda path: {"learn": {"m": {"kind": "ngram", "text": [path]}}},
    "labels": lambda path: {"learn": {"m": {"kind": "quality", "labels": path}}},
    "oracle": lambda path: {"label": [{"learner": "m", "oracle": f"file:{path}", "budget": 4}]},
    "profile": lambda path: {"label": {"learner": "m", "oracle": f"llm:{path}", "budget": 4}},
    "panel": lambda path: {"ablate": {"panel": [path]}},
    "tokenizer": lambda path: {"write": {"kind": "litdata", "tokenizer": path}},
}
OUTSIDE = ["/etc/passwd", "../../etc/passwd", "~/x", "~root", "~", "..", "file:///etc/passwd", "/etc/*", "in/../../x"]
OUTSIDE += [
    "link/hosts",
    "link*d/hosts",
    "/etc/h[o]sts",
    "s3://other/x",
    "s3://mine/../other/x",
    "S3://mine/x",
    "in/*/../../../x",
]
OUTSIDE += [
    "http://127.0.0.1/x",
    "https://host/x",
    "HTTP://host/x",
    "gs://mine/x",
    "FILE:///etc/passwd",
    "s3://mines/x",
]


@pytest.fixture
def root(tmp_path) -> Path:
    (tmp_path / "in").mkdir()
    for name in ("link", "link*d"):
        (tmp_path / name).symlink_to("/etc")
    (tmp_path / "etc").symlink_to("/etc/passwd")
    return tmp_path


@pytest.mark.parametrize("path", [*OUTSIDE, "etc"])
def test_no_section_of_a_spec_reaches_outside_the_roots(root, path):
    for section in SECTIONS.values():
        with pytest.raises(OutsideRootsError):
            check_paths(section(path), root, [str(root), "s3://mine"])


@pytest.mark.parametrize("path", ["/etc/passwd", "../../etc/passwd", "~root", "link/hosts", "s3://other/x"])
def test_a_path_is_no_name_of_a_field_either(root, path):
    with pytest.raises(OutsideRootsError):
        check_paths({"measure": {"any": {"weights": {path: 1}}}}, root, [str(root), "s3://mine"])


@pytest.mark.parametrize("path", ["in/x", "in/**/*.jsonl", "edu-local", "s3://mine/a/*.jsonl", "en", "in/../in/x"])
def test_what_is_below_a_root_may_be_named(root, path):
    for section in SECTIONS.values():
        check_paths(section(path), root, [str(root), "s3://mine"])


def test_an_export_goes_nowhere_outside_the_roots(served, folder):
    job = served.until(served.submit(spec_of(texts(folder), "exported"))["id"])
    (folder / "way-out").symlink_to("/tmp")
    outs = ["/tmp/out", "out", str(folder / ".." / "out"), str(folder / "way-out" / "x"), "s3://bucket/x", "~/x"]
    for out in [*outs, str(folder / "store" / "runs" / "x"), str(folder)]:
        answer = served.post(f"/v1/runs/{job['id']}/export", {"format": "jsonl", "out": out})
        assert answer.status_code == 422, (out, answer.text)
