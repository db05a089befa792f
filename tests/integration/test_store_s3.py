import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.commit import Attempt, committed
from pipelines.store import Store

pytestmark = pytest.mark.s3


@pytest.fixture
def bucket(s3_server, request):
    return Store.open(f"s3://{s3_server['bucket']}/{request.node.name}")


def test_only_the_first_create_wins(bucket):
    assert bucket.create("a/b.json", b"first")
    assert not bucket.create("a/b.json", b"second")
    assert bucket.get("a/b.json") == b"first"


def test_a_committed_parquet_file_reads_back_through_ranged_requests(bucket):
    table = pa.table({"text": ["naïve", "漢字 かな", "שלום", "👩‍👩‍👧", "e\u0301"]})
    with Attempt(bucket, "steps/stats-1", "shard") as attempt:
        with attempt.file() as path:
            pq.write_table(table, path)
        record = attempt.commit({"rows": 5})

    assert committed(bucket, "steps/stats-1", "shard") == record
    with bucket.open_input(record["files"][0]["path"]) as file:
        assert pq.read_table(file).equals(table)
    assert list(bucket.scratch().iterdir()) == []
