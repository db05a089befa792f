"""Every rule of the service's security, by somebody who tries to break it: a real server, raw sockets where a client would be too good."""

import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from service_runs import Served, service, spec_of, texts

from pipelines.service import tokens
from pipelines.service.security.audit import UNKNOWN, Audit
from pipelines.service.security.failures import ADDRESSES, BURST, CREDENTIALS, SECONDS, Failures, TooManyFailuresError
from pipelines.service.security.hosts import name_of
from pipelines.service.settings import Settings
from pipelines.service.tokens import Token, UnauthorizedError
from pipelines.store import Store
from stages.errors import SpecError

SECRET = "sk-this-is-the-key-of-nobody"
WRONG = "tamis_000000000000_" + "x" * 43


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("security")


@pytest.fixture(scope="module")
def served(folder):
    with service(folder, "--endpoint", "http://127.0.0.1:9/v1", env={"NOBODYS_KEY": SECRET}) as found:
        for known in (found.admin, found.submitter, found.reader):  # before others guess from here
            assert found.get("/v1/runs", known).status_code == 200
        yield found


@pytest.fixture(scope="module")
def session(served: Served) -> str:
    """What a signed-in browser's cookie holds."""
    answer = httpx.get(served.sign_in, trust_env=False, timeout=280)
    return answer.headers["set-cookie"].split("=", 1)[1].split(";")[0]


def raw(served: Served, request: bytes) -> bytes:
    """The answer to bytes, as they are, up to its end."""
    url = urlsplit(served.url)
    with socket.create_connection((url.hostname, url.port), timeout=280) as connection:
        connection.sendall(request)
        found = b""
        while piece := connection.recv(1 << 16):
            found += piece
            head, _, body = found.partition(b"\r\n\r\n")
            length = [line.split(b":")[1] for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
            if length and len(body) >= int(length[0]):
                break
    return found


def status(answer: bytes) -> int:
    return int(answer.split()[1])


def browser(served: Served, session: str, **headers: str) -> httpx.Client:
    return httpx.Client(
        base_url=served.url, cookies={"tamis_session": session}, headers=headers, trust_env=False, timeout=280
    )


# -- Host -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost:80@evil.example", "", "a b"])
def test_a_foreign_name_that_points_here_is_not_answered(served, host):
    for path in ("/v1/runs", "/healthz", "/metrics"):
        answer = raw(served, f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert status(answer) in (400, 421), answer
        assert b"tamis_" not in answer


def test_a_request_without_a_name_is_not_answered_and_known_names_are(served):
    assert status(raw(served, b"GET /healthz HTTP/1.0\r\nConnection: close\r\n\r\n")) == 421
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8", "localhost."):
        answer = raw(served, f"GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        assert status(answer) == 200, (host, answer)
    assert name_of("[::1]:8321") == "::1"
    assert name_of("localhost:1:2") is None


# -- Origin ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://127.0.0.1.evil.example"},
        {"Origin": "ftp://own"},
        {"Origin": "http://own", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "http://own", "Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site"},
    ],
)
def test_no_other_site_makes_a_signed_in_browser_change_anything(served, session, folder, headers):
    own = urlsplit(served.url).netloc
    with browser(served, session, **{k: v.replace("own", own) for k, v in headers.items()}) as page:
        answer = page.post("/v1/runs", json={"spec": spec_of(texts(folder))})
        assert (answer.status_code, answer.json()["type"]) == (403, "foreign-origin-error")
        assert page.post("/sign-out").status_code == 403
        assert page.get("/v1/runs").status_code == 200


def test_own_pages_may_change_things_and_other_sites_with_a_token_may_not(served, session):
    with browser(served, session, Origin=served.url, **{"Sec-Fetch-Site": "same-origin"}) as page:
        assert page.post("/v1/specs/validate", json={"spec": {}}).status_code == 200
    foreign = served.post("/v1/specs/validate", {"spec": {}}, headers={"Origin": "http://evil.example"})
    assert foreign.status_code == 403
    assert served.post("/v1/specs/validate", {"spec": {}}).status_code == 200
    with served.client() as client:
        shown = client.options("/v1/runs", headers={"Origin": "http://evil.example"})
    assert not [name for name in shown.headers if name.startswith("access-control")]


def test_a_cookie_is_strict_and_secure_behind_a_proxy_that_ends_tls(served):
    link, _ = tokens.create(served.store, "read", kind="link", seconds=60)
    answer = httpx.get(
        f"{served.url}/sign-in?link={link}",
        headers={"X-Forwarded-Proto": "https"},
        trust_env=False,
        timeout=280,
    )
    cookie = answer.headers["set-cookie"].lower()
    assert {"httponly", "secure", "samesite=strict"} <= {part.strip() for part in cookie.split(";")}
    assert answer.headers["cache-control"] == "no-store"


# -- size -----------------------------------------------------------------------------------------------------------


def test_a_large_request_is_refused_when_it_is_announced(served):
    head = f"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.admin}\r\n"
    for length in (b"4194305", b"99999999999999999999"):
        answer = raw(served, head.encode() + b"Content-Length: " + length + b"\r\n\r\n")
        assert status(answer) == 413, answer
        assert b"application/problem+json" in answer
        assert b"too-large-error" in answer


def test_a_large_request_of_unknown_length_is_refused_on_its_way(served):
    head = f"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.admin}\r\n"
    chunk = b"10000\r\n" + b"[" * (1 << 16) + b"\r\n"
    answer = raw(served, head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 65)
    assert status(answer) == 413, answer[:200]
    assert b"too-large-error" in answer


# -- wrong tokens ---------------------------------------------------------------------------------------------------


def test_guesses_are_slowed_down_and_nobody_else_is(served):
    assert served.get("/v1/runs", served.reader).status_code == 200
    with served.client(WRONG) as client:
        first = client.get("/v1/runs")
        for _ in range(10 * BURST):  # a busy machine may take longer for one than a guess is worth
            refused = client.get("/v1/runs")
            if refused.status_code != 401:
                break
    assert first.status_code == 401
    assert (refused.status_code, refused.json()["type"]) == (429, "too-many-failures-error")
    assert int(refused.headers["retry-after"]) > 0
    assert served.get("/v1/runs", served.reader).status_code == 200, "a token that was right is looked at"
    link, _ = tokens.create(served.store, "read", kind="link", seconds=600)
    assert httpx.get(f"{served.url}/sign-in?link={link}", trust_env=False, timeout=280).status_code == 429
    assert httpx.get(f"{served.url}/healthz", trust_env=False, timeout=280).status_code == 200


def some_token() -> Token:
    return Token("a" * 12, "", "read", "", 0.0)


def nobody() -> Token:
    raise UnauthorizedError("nobody")


def test_failures_are_forgotten_in_time_and_by_address():
    now = [0.0]
    failures = Failures(lambda: now[0])
    for _ in range(BURST):
        with pytest.raises(UnauthorizedError):
            failures.check("10.0.0.1", WRONG, nobody)
    with pytest.raises(TooManyFailuresError) as raised:
        failures.check("10.0.0.1", WRONG, some_token)
    assert raised.value.fields["retry_after"] == SECONDS
    assert failures.check("10.0.0.2", WRONG, some_token).id == "a" * 12
    now[0] += SECONDS
    failures.check("10.0.0.1", "another", some_token)


def test_one_network_of_ipv6_is_one_address_and_memory_is_bounded():
    failures = Failures(lambda: 0.0)
    for i in range(BURST):
        with pytest.raises(UnauthorizedError):
            failures.check(f"2001:db8::{i}", WRONG, nobody)
    with pytest.raises(TooManyFailuresError):
        failures.check("2001:db8::ffff", WRONG, some_token)
    for i in range(ADDRESSES + 10):
        with pytest.raises(UnauthorizedError):
            failures.check(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", WRONG, nobody)
        failures.check("192.0.2.1", f"right-{i}", some_token)
    assert len(failures) == ADDRESSES + CREDENTIALS


# -- headers --------------------------------------------------------------------------------------------------------


def test_every_answer_says_what_a_browser_may_do_with_it(served):
    answers = [
        served.get("/v1/runs"),
        served.get("/v1/runs", "wrong"),
        served.get("/nowhere"),
        served.get("/healthz"),
        served.get("/openapi.json"),
        served.post("/v1/runs", {"spec": []}),
        served.get("/v1/runs", headers={"Host": "evil.example"}),
    ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert "server" not in answer.headers
        assert answer.headers["cache-control"] in ("no-store", "private, no-cache")


def test_no_browser_keeps_what_a_signed_in_person_saw(served, session):
    with browser(served, session) as page:
        assert page.get("/v1/runs").headers["cache-control"] == "no-store"
        assert page.get("/v1/runs/nobody").headers["cache-control"] == "no-store"


# -- audit ----------------------------------------------------------------------------------------------------------


def test_who_changed_what_and_who_was_refused_is_kept_and_shown_to_admins(tmp_path):
    with service(tmp_path) as served:  # one that nobody guessed at: what strangers do is kept for a while only
        httpx.get(served.sign_in, trust_env=False, timeout=280)
        job = served.submit(spec_of(texts(tmp_path), "audited"), served.submitter, key="audited")["id"]
        assert served.post(f"/v1/runs/{job}/cancel", token=served.reader).status_code == 403
        assert served.post(f"/v1/runs/{job}/cancel", token=WRONG).status_code in (401, 429)
        assert served.get("/v1/audit", served.submitter).status_code == 403
        found = served.get("/v1/audit", params={"limit": 4}).json()
        told = [(e["method"], e["path"], e["status"], e["outcome"], e["scope"]) for e in found["entries"]]
        assert told == [
            ("GET", "/v1/audit", 403, "refused", "submit"),
            ("POST", f"/v1/runs/{job}/cancel", told[1][2], "refused", None),
            ("POST", f"/v1/runs/{job}/cancel", 403, "refused", "read"),
            ("POST", "/v1/runs", 202, "done", "submit"),
        ]
        assert found["entries"][3]["who"] == served.submitter.split("_")[1]
        assert found["entries"][3]["client"] == "127.0.0.1"
        rest = served.get("/v1/audit", params={"after": found["next"], "limit": 200}).json()
        assert {e["id"] for e in rest["entries"]}.isdisjoint(e["id"] for e in found["entries"])
        assert any(e["path"] == "/sign-in" for e in rest["entries"])
        assert served.get("/v1/audit", params={"after": "nonsense"}).status_code == 422
        kept = "".join(p.read_text() for p in (tmp_path / "store" / "service" / "audit").glob("*/*.json"))
        for secret in (served.admin, served.submitter, served.sign_in.split("=")[1], WRONG):
            assert secret not in kept
        assert served.post(f"/v1/runs/{job}/cancel", token=served.submitter).status_code in (202, 409)


def test_the_audit_log_of_strangers_is_bounded_and_says_what_it_left_out(tmp_path):
    now = [1_700_000_000.0]
    audit = Audit(Store.open(tmp_path / "store"), lambda: now[0])
    kept = [audit.keep({"path": "/"}, known=False) for _ in range(UNKNOWN + 7)]
    assert kept == [True] * UNKNOWN + [False] * 7
    assert audit.keep({"path": "/known"}, known=True)
    now[0] += 60
    assert audit.keep({"path": "/later"}, known=False)
    entries, following = audit.page(None, 3)
    assert [(e["path"], e["left_out"]) for e in entries[:1]] == [("/later", 0)]
    assert sum(e["left_out"] for e in audit.page(None, 100)[0]) == 7
    everything = list(entries)
    while following:
        entries, following = audit.page(following, 3)
        everything += entries
    assert len({e["id"] for e in everything}) == len(everything) == UNKNOWN + 2


# -- who listens, and where the bytes are ----------------------------------------------------------------------------


def test_a_service_is_open_to_a_network_only_when_somebody_says_so(tmp_path):
    for host in ("0.0.0.0", "192.0.2.1", "::", "example.org"):
        with pytest.raises(SpecError, match="--allow-public"):
            Settings(store="s", state=tmp_path, host=host).check()
        with pytest.raises(SpecError, match="--allowed-host"):
            Settings(store="s", state=tmp_path, host=host, allow_public=True).check()
        Settings(store="s", state=tmp_path, host=host, allow_public=True, hosts=("example.org",)).check()
    for host in ("127.0.0.1", "::1", "localhost", "127.8.8.8"):
        Settings(store="s", state=tmp_path, host=host).check()


def test_a_store_holds_no_token_that_works(served, folder):
    given = [served.admin, served.submitter, served.reader]
    for path in (folder / "store" / "service" / "tokens").iterdir():
        text = path.read_text()
        assert not any(token.split("_", 2)[2] in text for token in given)


def test_many_at_once_are_each_told_the_truth(served):
    with ThreadPoolExecutor(8) as pool:
        asked = [served.admin, served.submitter, served.reader, WRONG] * 4
        answers = list(pool.map(lambda t: served.get("/v1/audit", t, params={"limit": 1}).status_code, asked))
    wanted = {served.admin: {200}, served.submitter: {403}, served.reader: {403}, WRONG: {401, 429}}
    assert all(status in wanted[token] for token, status in zip(asked, answers, strict=True))
