"""A service whose store is a bucket: a job to its end, its documents and export, retention; and a second service is refused."""

import queue
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from service_runs import spec_of, texts

from pipelines.service import tokens
from pipelines.service.errors import PreparingError
from pipelines.service.history import STATE
from pipelines.service.service import Service
from pipelines.service.settings import Settings
from stages.errors import StorageError


def browsed(service, run):
    while True:
        try:
            return service.explorer(run)
        except PreparingError:
            continue


def test_a_job_of_a_store_in_a_bucket_runs_to_its_end_and_is_browsed_exported_and_put_away(s3_server, tmp_path):
    settings = Settings(
        f"s3://{s3_server['bucket']}/service", tmp_path / "state", roots=(str(tmp_path),), engine="local", workers=1
    )
    own, heard = Service(settings), queue.Queue()
    try:
        own.start()
        own.hub.hearing.append(lambda job, event: heard.put((job, event)))
        token = tokens.check(own.store, tokens.create(own.store, "submit")[0])
        row, _ = own.submit(token, spec_of(texts(tmp_path)))
        while True:
            job, event = heard.get(timeout=280)
            assert event.data.get("state") not in ("FAILED", "CRASHED"), event
            if (job, event.type, event.data.get("state")) == (row.id, STATE, "SUCCEEDED"):
                break
        with pytest.raises(StorageError, match="and a store has one service"):
            Service(replace(settings, state=tmp_path / "elsewhere"))
        row = own.row(row.id)
        assert browsed(own, row.id).documents("rejected", limit=0).total == row.total["rejected"] == 9
        [file] = own.exports(row.id)["manifest"]["files"]
        path = f"{row.export.removeprefix(own.store.url + '/')}/{file['name']}"
        with ThreadPoolExecutor(8) as pool:  # who asks first and second at once gets the whole file
            sizes = list(pool.map(lambda _: own.store.local(path).stat().st_size, range(8)))
        assert sizes == [file["bytes"]] * 8
        own.launcher.gone(row.id, row.attempt)  # its process ends a moment after it said so
    finally:
        own.close()
    other = Service(replace(settings, state=tmp_path / "elsewhere", keep_last=0))
    try:
        other.start()
        assert other.row(row.id).state == "SUCCEEDED", "the store alone has it"
        assert other.retention.apply() == 1
        assert other.row(row.run).total == row.total
    finally:
        other.close()
