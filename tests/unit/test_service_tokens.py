"""Tokens: scopes, what is kept of them, and how they end."""

import json
import time
from pathlib import Path

import pytest

from pipelines.service import tokens
from pipelines.service.tokens import ForbiddenError, Quota, Scope, UnauthorizedError
from stages.errors import SpecError


def test_a_token_is_known_again_with_its_scope_and_quota(store):
    given, made = tokens.create(store, "submit", name="nightly", quota=Quota(queued=3))

    assert tokens.check(store, given) == made
    assert made.quota.queued == 3
    assert [made.allows(scope) for scope in Scope] == [True, True, False]


def test_the_secret_of_a_token_is_nowhere_in_the_store(store):
    given, _ = tokens.create(store, "admin")
    secret = given.rsplit("_", 1)[1] if given.count("_") == 2 else given.split("_", 2)[2]
    kept = [p.read_bytes() for p in Path(store.url).rglob("*") if p.is_file()]

    assert kept
    assert not any(secret.encode() in content for content in kept)


def test_a_scope_that_is_too_small_is_said(store):
    _, made = tokens.create(store, "read")
    made.require(Scope.read)

    with pytest.raises(ForbiddenError, match="has the scope 'read', and this needs 'submit'"):
        made.require(Scope.submit)


def test_what_is_no_token_of_this_store_is_nobody(store, tmp_path):
    given, made = tokens.create(store, "admin")
    flipped = given[:-1] + ("A" if given[-1] != "A" else "B")
    others = [
        "",
        "tamis_",
        given + "x",
        flipped,
        given.replace(made.id, "0" * 12),
        "tamis_../../x_" + "a" * 43,
        given + "\n",
    ]

    for other in others:
        with pytest.raises(UnauthorizedError, match="unknown, expired or revoked"):
            tokens.check(store, other)


def test_revoked_and_expired_tokens_are_worth_nothing_and_sessions_are_no_tokens(store):
    revoked, made = tokens.create(store, "admin")
    expired, _ = tokens.create(store, "admin", seconds=-1)
    session, _ = tokens.create(store, "admin", kind="session", seconds=60)
    tokens.check(store, revoked)

    assert tokens.revoke(store, made.id)
    assert not tokens.revoke(store, made.id)
    for given in (revoked, expired, session):
        with pytest.raises(UnauthorizedError):
            tokens.check(store, given)
    assert tokens.check(store, session, kind="session").scope == "admin"


def test_tokens_are_listed_and_unknown_ones_and_scopes_refused(store):
    made = [tokens.create(store, scope)[1] for scope in Scope.__members__]
    tokens.revoke(store, made[0].id)

    assert sorted(t.id for t in tokens.every(store)) == sorted(t.id for t in made)
    with pytest.raises(SpecError, match="there is no token 'nobody'"):
        tokens.revoke(store, "nobody")
    with pytest.raises(SpecError, match="there is no scope 'root'; the scopes are read, submit, admin"):
        tokens.create(store, "root")


def test_what_is_kept_of_a_token_is_plain_json(store):
    _, made = tokens.create(store, "read", name="früh")
    kept = json.loads((Path(store.url) / f"service/tokens/{made.id}.json").read_text())

    assert kept["name"] == "früh"
    assert kept["scope"] == "read"


def test_sessions_and_links_are_forgotten_a_day_after_their_end_and_tokens_are_kept(store):
    made = {
        (kind, seconds): tokens.create(store, "read", kind=kind, seconds=seconds)[1].id
        for kind in ("token", "session", "link")
        for seconds in (None, 10.0)
    }
    tokens.revoke(store, made["link", 10.0])
    now = time.time()
    assert tokens.tidy(store, now + 80_000) == 0
    assert tokens.tidy(store, now + 90_000) == 2
    left = {t.id for t in tokens.every(store)}
    assert left == set(made.values()) - {made["session", 10.0], made["link", 10.0]}
    assert not [path for path in store.list("service/tokens/") if made["link", 10.0] in path]
    assert tokens.tidy(store, now + 90_000) == 0
