"""Every kind of storage answers the same questions: the store's folder, S3, a real Redis; Bloom filters know members."""

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from debian_packages import program
from index_runs import BANDS, CONFIGURATION, PERMUTATIONS, ROWS, Obvious, answers, coming, name_of, table

from pipelines.index import bloom, redis_lsh
from pipelines.index.bloom import Bloom
from pipelines.index.chain import get
from pipelines.index.embedded import Embedded
from pipelines.index.redis_lsh import RedisLsh
from pipelines.progress import NullWatch
from pipelines.store import Store
from stages.errors import SpecError, StorageError
from stages.index.manifest import Configuration, sketch_of
from stages.text.minhash import Minhash

WATCH = NullWatch()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Redis on loopback, for the session; installed from Debian's package where root may."""
    found = program(("redis-server",), ("redis-server",))
    if found is None:
        pytest.skip("no Redis: the package redis-server is not installed and cannot be")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("redis")
    options = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    server = subprocess.Popen([found, *options], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        for line in server.stdout:
            if "Ready to accept connections" in line:
                break
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


@pytest.fixture(params=["folder", "redis", pytest.param("s3", marks=pytest.mark.s3)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A function that opens the same index anew."""
    if request.param == "s3":
        server = request.getfixturevalue("s3_server")
        store = Store.open(f"s3://{server['bucket']}/{tmp_path.name}")
        return lambda: Embedded(store, "seen", CONFIGURATION)
    store = Store.open(tmp_path / "store")
    if request.param == "folder":
        return lambda: Embedded(store, "seen", CONFIGURATION)
    url = request.getfixturevalue("redis_url")
    return lambda: RedisLsh(store, "seen", url, redis_lsh.begin("seen", CONFIGURATION, url))


def test_it_answers_as_a_list_does(opened):
    obvious, random = Obvious(), np.random.default_rng(11)
    sketches = [tuple(s) for s in random.integers(0, 3, (6, PERMUTATIONS)).tolist()]
    for number in range(6):
        corpus = "ab"[number % 2]
        some = random.integers(0, 3, (7, PERMUTATIONS)).tolist()
        documents = [(name_of(i), tuple(s)) for i, s in zip(random.permutation(12)[:7].tolist(), some, strict=True)]
        these = table([d for d, _ in documents], [s for _, s in documents])
        assert opened().add(coming(corpus, these, str(number)), WATCH).documents == obvious.add(corpus, documents)
        assert opened().add(coming(corpus, these, f"{number} again"), WATCH).documents == 0
        if number > 2:
            gone = obvious.entries[number][1]
            assert len(opened().remove([gone], None)) == obvious.remove(gone)
            assert opened().remove([gone], None) == []
        assert answers(opened(), sketches) == [obvious.twins(s) for s in sketches]
    info = opened().info()
    assert (info["documents"], info["taken_down"]) == (len(obvious.entries), len(obvious.removed))
    with pytest.raises(SpecError, match="has no document 'nobody'"):
        opened().remove(["nobody"], None)


def test_what_a_killed_add_left_in_redis_is_invisible_until_it_is_made_again(store, redis_url):
    def opened() -> RedisLsh:
        return RedisLsh(store, "seen", redis_url, redis_lsh.begin("seen", CONFIGURATION, redis_url))

    these = coming("a", table([name_of(1), name_of(2)], [(1,) * 8, (1,) * 8]))

    def until_it_dies() -> Iterator[pa.Table]:
        yield from these.batches()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        opened().add(replace(these, batches=until_it_dies), WATCH)

    assert answers(opened(), [(1,) * 8]) == [[]]
    assert opened().info()["documents"] == 0
    assert opened().add(these, WATCH).documents == 2
    assert answers(opened(), [(1,) * 8]) == [[(1.0, d, "a") for d in sorted([name_of(1), name_of(2)])]]


def test_datasketch_itself_finds_what_is_in_redis(store, redis_url):
    from datasketch import LeanMinHash, MinHashLSH  # noqa: PLC0415 - the peer

    index = RedisLsh(store, "seen", redis_url, redis_lsh.begin("seen", CONFIGURATION, redis_url))
    random = np.random.default_rng(2).integers(0, 3, (40, 8)).astype(np.uint32)
    index.add(coming("a", table([name_of(i) for i in range(40)], random)), WATCH)
    asked = np.random.default_rng(3).integers(0, 3, (20, 8)).astype(np.uint32)
    place = {"host": "127.0.0.1", "port": int(redis_url.split(":")[2].split("/")[0])}
    storage = {"type": "redis", "basename": index.info()["basename"].encode(), "redis": place}
    theirs = MinHashLSH(num_perm=8, params=(BANDS, ROWS), storage_config=storage, prepickle=False)

    found = [theirs.query(LeanMinHash(seed=1, hashvalues=s, scheme="affine32")) for s in asked]

    ours = [{d for _, d, _ in twins} for twins in answers(index, [tuple(s) for s in asked.tolist()])]
    assert [{member.decode().split("\0")[1] for member in members} for members in found] == ours
    assert any(ours)


def test_a_redis_server_without_the_index_is_refused(store, redis_url):
    RedisLsh(store, "seen", redis_url, redis_lsh.begin("seen", CONFIGURATION, redis_url))

    with pytest.raises(StorageError, match="has no such index"):
        RedisLsh(store, "seen", redis_url.replace("/0", "/1"))
    with pytest.raises(StorageError, match="check that it runs"):
        RedisLsh(store, "seen", "redis://127.0.0.1:1/0")


def test_the_store_keeps_no_password():
    place = redis_lsh.begin("seen", CONFIGURATION, "redis://user:secret@host:6379/2").place
    assert place["url"] == "redis://host:6379/2"


def test_a_bloom_index_knows_its_members_and_hardly_anybody_else(store):
    wide = Configuration(sketch_of(Minhash().identity()), 14, 8)
    random = np.random.default_rng(4)
    # As documents have them: minima over some thousand n-grams are small.
    members, others = (random.integers(0, 1 << 22, (3000, 112)).astype(np.uint32) for _ in range(2))
    index = Bloom(store, "seen", bloom.begin(wide, 5000, 1e-3))
    first = coming("a", table([name_of(i) for i in range(2000)], members[:2000]))

    assert index.add(first, WATCH).documents == 2000
    assert Bloom(store, "seen").add(first, WATCH).documents == 0
    second = coming("b", table([name_of(i) for i in range(3000)], members))
    again = Bloom(store, "seen").add(second, WATCH)

    assert (again.documents, again.known) == (1000, 2000)
    assert Bloom(store, "seen").query(members, 1, 0.0)["asked"].to_pylist() == list(range(3000))
    assert Bloom(store, "seen").query(others, 1, 0.0).num_rows <= 12
    rate = Bloom(store, "seen").info()["false_positive_rate"]
    assert (rate["nominal"], rate["probes"]) == (1e-3, 100_000)
    assert 0 <= rate["measured"] <= 1.5e-3


def test_a_bloom_index_refuses_what_it_cannot_do(store):
    with pytest.raises(SpecError, match="--capacity"):
        bloom.begin(CONFIGURATION, None, 1e-3)
    index = Bloom(store, "seen", bloom.begin(CONFIGURATION, 2, 1e-3))
    assert index.add(coming("a", table([name_of(1)], [(1,) * 8])), WATCH).documents == 1
    before = get(store, "seen")

    with pytest.raises(SpecError, match="made for 2 documents"):
        index.add(coming("b", table([name_of(i) for i in (2, 3)], [(2,) * 8, (3,) * 8])), WATCH)
    with pytest.raises(SpecError, match="cannot forget a document"):
        index.remove([name_of(1)], None)
    with pytest.raises(SpecError, match="leave out --threshold"):
        index.query(np.full((1, 8), 1, np.uint32), 1, 0.5)
    assert get(store, "seen") == before
    assert index.info()["false_positive_rate"]["measured"] is None, "one member makes no probes"


def test_sums_of_bands_as_datasketch_takes_them_err_far_more_often_than_the_filters_say(tmp_path):
    """Why a band goes into the Bloom filter as our key of it: see the module's docstring."""
    from datasketch import LeanMinHash, MinHashLSHBloom  # noqa: PLC0415 - the peer

    random = np.random.default_rng(6)
    members, others = (random.integers(0, 1 << 20, (3000, PERMUTATIONS)).astype(np.uint32) for _ in range(2))
    sums = MinHashLSHBloom(num_perm=PERMUTATIONS, params=(BANDS, 2), n=3000, fp=1e-7, save_dir=str(tmp_path))
    for values in members:
        sums.insert(LeanMinHash(seed=1, hashvalues=values, scheme="affine32"))
    wrong = sum(sums.query(LeanMinHash(seed=1, hashvalues=v, scheme="affine32")) for v in others)

    assert wrong / 3000 > 1000 * 4e-7
