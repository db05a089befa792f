"""`tamis token`, and what the first start of a service says."""

import json
import re

import pytest
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.service import tokens
from pipelines.service.server import welcome
from pipelines.service.settings import Settings
from pipelines.service.tokens import Scope, UnauthorizedError


def command(store, *arguments: str):
    done = CliRunner().invoke(app, ["token", *arguments, "--store", store.url, "--json"], catch_exceptions=False)
    return json.loads(done.stdout)


def secret(said: str) -> str:
    """The last part of a token or link, which may hold underscores of its own."""
    found = re.search(r"tamis_[0-9a-f]{12}_([\w-]{43})$", said)
    assert found, said
    return found[1]


def test_a_token_is_created_listed_and_revoked(store):
    made = command(store, "create", "--scope", "submit", "--name", "ci", "--expires", "90d", "--max-queued", "3")
    kept = tokens.check(store, made["token"])
    assert (kept.scope, kept.name, kept.quota.queued) == ("submit", "ci", 3)
    assert kept.allows(Scope.read)
    assert not kept.allows(Scope.admin)
    assert kept.expires == pytest.approx(kept.created + 90 * 86_400, abs=1)

    [listed] = command(store, "list")
    assert (listed["id"], listed["alive"]) == (made["id"], True)
    assert secret(made["token"]) not in json.dumps(listed)

    assert command(store, "revoke", made["token"]) == {"id": made["id"], "revoked": True}
    assert command(store, "revoke", made["id"]) == {"id": made["id"], "revoked": False}
    with pytest.raises(UnauthorizedError):
        tokens.check(store, made["token"])


def test_a_link_of_the_command_signs_one_browser_in_with_its_scope(store):
    made = command(store, "link", "--scope", "read", "--name", "ada", "--server", "https://tamis.example/")
    address, _, identity = made["link"].partition("?link=")
    kept = tokens.check(store, identity, kind="link")

    assert address == "https://tamis.example/sign-in"
    assert (kept.id, kept.scope, kept.name) == (made["id"], "read", "ada")
    with pytest.raises(UnauthorizedError):
        tokens.check(store, identity)  # it is no token


def test_the_first_start_prints_one_admin_token_and_every_start_a_link(store, tmp_path):
    settings, starts = Settings(store.url, tmp_path), []
    for _ in range(2):
        said: list[str] = []
        welcome(store, settings, said.append)
        starts.append(said)
    first, second = starts
    assert [line.split(":")[0] for line in first][1] == "the first admin token, shown this once"
    assert tokens.check(store, first[1].split()[-1]).scope == "admin"
    assert len(second) == 2
    for said in starts:
        assert tokens.check(store, said[-1].partition("link=")[2], kind="link").scope == "admin"
    kept = "".join(store.get(path).decode() for path in store.list("service/tokens/"))
    assert not any(secret(line) in kept for line in (*first[1:], second[-1]))
