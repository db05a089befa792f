"""The SDK against a real service: one description, two clients."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from service_runs import ROOT, Served, looped, service, spec_of, texts, waiting_spec

from pipelines.client import (
    AsyncClient,
    CancelledRunError,
    Client,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    SpecError,
    State,
    TamisError,
    UnauthorizedError,
    UnfinishedError,
    models,
)
from pipelines.client.specs import as_data
from pipelines.spec import from_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("client")


@pytest.fixture(scope="module")
def served(folder):
    with service(folder) as found:
        yield found


@pytest.fixture
def tamis(served: Served):
    with Client(served.url, served.submitter) as client:
        yield client


@pytest.fixture(scope="module")
def spec_file(folder) -> Path:
    texts(folder)
    path = folder / "small.json"
    path.write_text(json.dumps(spec_of("texts.jsonl")))
    return path


@pytest.fixture(scope="module")
def done(served: Served, spec_file):
    """A run that has succeeded, submitted as a file whose paths are relative to it."""
    with Client(served.url, served.submitter) as client:
        return client.wait(client.submit(spec_file).id).check()


def test_a_file_a_mapping_and_a_spec_are_one_job_with_one_key(served, tamis, done, spec_file):
    mapping = as_data(spec_file)
    jobs = [tamis.submit(given, key="same") for given in (spec_file, mapping, from_data(mapping), spec_file)]
    assert len({job.id for job in jobs}) == 1
    assert tamis.wait(jobs[0].id).run == done.run, "the service found what the first run left"
    with pytest.raises(SpecError, match="used for another request"):
        tamis.submit(mapping, key="same", changes={"keep.0.ge": 11})
    there = tamis.submit(spec_file, paths="there", changes={"keep.0.ge": 12})
    assert tamis.spec(there.id) == {**spec_of("texts.jsonl"), "keep": [{**mapping["keep"][0], "ge": 12}]}
    assert tamis.wait(there.id).total["exported"] < done.total["exported"]


def test_a_run_tells_where_it_stands_in_models_of_the_service(served, tamis, done):
    assert (done.state, done.over, done.managed) == (State.SUCCEEDED, True, True)
    assert tamis.run("small").name == "small"
    assert done.id in [run.id for run in tamis.runs(state=[State.SUCCEEDED], name="small")]
    assert len(list(tamis.runs(limit=1))) == 1
    assert {step.state for step in tamis.steps(done.id)} == {"done"}
    assert "stats" in [step.name for step in tamis.plan(done.id).steps]
    assert tamis.pin(done.id).pinned
    assert not tamis.pin(done.id, pinned=False).pinned
    assert isinstance(tamis.log(done.id), str)
    assert tamis.health().status == tamis.ready().status == "ok"
    assert "text_stats" in [stage["kind"] for stage in tamis.stages()]
    schemas = served.get("/openapi.json").json()["components"]["schemas"]
    for name in ("Run", "Step", "Planned", "Checked", "Preview", "Export", "Exporting", "Ablation", "Artifact"):
        assert set(getattr(models, name).model_fields) == set(schemas[name]["properties"]), name


def test_documents_come_as_arrow_pandas_and_polars_or_with_a_sentence(tamis, done, monkeypatch):
    table = tamis.documents(done.id, fate="rejected", columns=["stats.chars"], text=20)
    assert isinstance(table, pa.Table)
    assert table["stats.words"].to_pylist() == sorted(table["stats.words"].to_pylist())
    assert set(table["fate"].to_pylist()) == {"rejected"}
    assert (table.num_rows, table.schema.metadata[b"total"]) == (9, b"9")
    assert all(len(text) <= 20 for text in table["text"].to_pylist())
    assert tamis.documents(done.id, limit=None).num_rows == 40
    assert tamis.documents(done.id, limit=3, offset=39).num_rows == 1
    assert tamis.documents(done.id, where=["stats.words>=1000"]).column_names[:3] == ["doc_id", "fate", "reasons"]
    assert tamis.documents(done.id, frame="pandas")["stats.words"].tolist() == [*range(1, 41)]
    framed = tamis.documents(done.id, frame="polars")
    assert isinstance(framed, pl.DataFrame)
    assert framed["stats.words"].to_list() == [*range(1, 41)]
    assert framed["reasons"].to_list() == [["short"]] * 9 + [[]] * 31
    monkeypatch.setitem(sys.modules, "polars", None)  # as where it is not installed
    with pytest.raises(SpecError, match="polars is not installed here; install it with `pip install polars`"):
        tamis.documents(done.id, frame="polars")
    with pytest.raises(SpecError, match="known: arrow, pandas"):
        tamis.documents(done.id, frame="numpy")


def test_what_if_and_why_come_as_tables(tamis, done):
    rows = {r["what"]: r for r in tamis.what_if(done.id, ["stats.words>=5"]).to_pylist()}
    assert (rows["documents"]["before"], rows["documents"]["difference"]) == (31, 5)
    assert (rows["reason"]["reason"], rows["reason"]["difference"]) == ("short", -5)
    assert rows["tokens"]["before"] is None
    [rule] = tamis.explain(done.id, "doc-3", frame="arrow").to_pylist()
    assert (rule["reason"], rule["status"], rule["value"], rule["threshold"]) == ("short", "fail", 4, 10)
    assert tamis.explain(done.id, "doc-3")["fate"] == "rejected"
    assert tamis.borderline(done.id, "stats.words", 10, limit=1)["above"][0]["values"]["stats.words"] == 10
    assert tamis.histogram(done.id, "stats.words", bins=4)["column"] == "stats.words"
    clusters = tamis.clusters(done.id, "verdict.fate", members=2)
    assert set(zip(clusters["cluster"].to_pylist(), clusters["size"].to_pylist(), strict=True)) == {
        ("kept", 31),
        ("rejected", 9),
    }


def test_reports_come_as_a_page_and_as_numbers(tamis, done):
    assert tamis.report(done.id).lstrip().lower().startswith("<!doctype html")
    assert tamis.report(done.id, "json")["run"] == done.run
    assert (tamis.ablations(), tamis.artifacts()) == ([], [])
    with pytest.raises(NotFoundError):
        tamis.ablation_report("nothing")


def test_an_export_is_brought_here_whole(tamis, done, tmp_path):
    out = tmp_path / "out"
    found = tamis.download(done.id, out)
    listed = {file["name"]: file["sha256"] for file in found.manifest["files"]}
    assert {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found.files} == listed
    assert json.loads((out / "manifest.json").read_text()) == found.manifest
    assert {"README.md", "croissant.json", "SHA256SUMS"} <= {path.name for path in out.iterdir()}
    assert not list(out.glob("*.part"))
    assert tamis.download(done.id, out).fetched < found.fetched, "data files are not fetched twice"
    found.files[0].write_bytes(b"damaged")
    tamis.download(done.id, out)
    assert hashlib.sha256(found.files[0].read_bytes()).hexdigest() == listed[found.files[0].name]
    (out / "manifest.json").write_text("{}")
    with pytest.raises(SpecError, match="holds another export"):
        tamis.download(done.id, out)


def test_what_is_wrong_is_raised_as_what_it_was(served, tamis, done, spec_file, folder):
    with pytest.raises(NotFoundError) as missing:
        tamis.run("nothing")
    assert missing.value.fields == {"run": "nothing"}
    assert missing.value.problem() == served.get("/v1/runs/nothing").json()
    with pytest.raises(NotFoundError, match="no document"):
        tamis.explain(done.id, "nobody")
    with pytest.raises(SpecError, match="no column"):
        tamis.clusters(done.id, "nothing.here")
    with pytest.raises(SpecError, match="did you mean 'text_stats'"):
        tamis.submit({**spec_of(texts(folder)), "measure": {"stats": {"kind": "text_stat"}}})
    with pytest.raises(SpecError, match="outside the roots") as outside:
        tamis.validate({**spec_of("/etc/passwd")}).check()
    assert outside.value.problem()["type"] == "outside-roots-error"
    with pytest.raises(ConflictError):
        tamis.cancel(done.id)
    with Client(served.url, served.reader) as reader, pytest.raises(ForbiddenError):
        reader.submit(spec_file)
    with Client(served.url, "wrong") as nobody, pytest.raises(UnauthorizedError):
        nobody.run(done.id)
    with pytest.raises(SpecError, match="no address of a service"):
        Client("ftp://somewhere")
    own = spec_file.with_name("own.json")
    own.write_text(json.dumps({**spec_of("texts.jsonl"), "keep": [{"rules": "mine.yaml"}]}))
    with pytest.raises(SpecError, match="write them into the spec"):
        tamis.submit(own)


def test_a_run_that_fails_raises_what_it_failed_of(tamis, folder):
    spec = {**spec_of(texts(folder)), "max_drop": 0.01, "name": "drops"}
    failed = tamis.wait(tamis.submit(spec).id)
    assert failed.state is State.FAILED
    with pytest.raises(TamisError) as error:
        failed.check()
    assert error.value.problem() == failed.error


def test_a_job_waits_for_labels_is_waited_for_cancelled_and_resumed(served, tamis, folder):
    job = tamis.submit(waiting_spec(folder, "sdk")).id
    with pytest.raises(TimeoutError, match="it goes on") as late:
        tamis.wait(job, timeout=1.5)
    assert isinstance(late.value, UnfinishedError)
    for event in tamis.events(job):
        if event.type == "note" and "person's label" in event.data["note"]:
            break
    found = tamis.labels()
    assert [queue["waiting"] for queue in found.queues] == [4]
    first, *others = found.questions
    assert tamis.label(first["queue"], first["doc_id"], "high").queues[0]["waiting"] == 3
    assert tamis.undo_label(first["queue"]).undone == first["doc_id"]
    assert tamis.cancel(job).state in (State.CANCELLING, State.CANCELLED)
    with pytest.raises(CancelledRunError, match="was cancelled"):
        tamis.wait(job).check()
    tamis.resume(job)
    for question, label in zip([first, *others], ("high", "low") * 2, strict=True):
        tamis.label(question["queue"], question["doc_id"], label)
    assert tamis.wait(job).check().attempt == 2
    assert "sdk" in [artifact.name for artifact in tamis.artifacts()]


def test_an_async_client_does_the_same_things_at_once(served, done, folder, tmp_path):
    async def everything():
        async with AsyncClient(served.url, served.submitter) as tamis:
            spec = spec_of(texts(folder, name="async.jsonl"), "async")
            job = await tamis.submit(spec)

            async def listened():
                return [event.number async for event in tamis.events(job.id)]

            found = await asyncio.gather(
                *(tamis.wait(job.id), listened()),
                *(
                    tamis.documents(done.id, fate="kept"),
                    tamis.download(done.id, tmp_path / "out"),
                    tamis.report(done.id),
                ),
            )
            with pytest.raises(NotFoundError):
                await tamis.run("nothing")
            return found, [run.id async for run in tamis.runs()]

    (run, numbers, kept, download, report), runs = looped(everything())
    assert run.check().state is State.SUCCEEDED
    assert numbers == list(range(1, run.version + 1))
    assert kept.num_rows == 31
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == download.manifest
    assert "</html>" in report
    assert {run.id, done.id} <= set(runs)


def command(served, *arguments, token=None):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "TAMIS_SERVER": served.url}
    env["TAMIS_TOKEN"] = token or served.submitter
    return [sys.executable, *arguments], env


def ran(served, *arguments):
    line, env = command(served, *arguments)
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=280, check=False, cwd=ROOT)


def test_tamis_submit_sees_a_job_through_and_ends_as_tamis_run_does(served, spec_file, done):
    said = ran(served, "-m", "pipelines.cli", "submit", str(spec_file), "--set", "name=told", "--watch")
    assert said.returncode == 0, said.stderr
    assert "exported" in said.stdout
    assert "is RUNNING" in said.stderr
    told = ran(served, "-m", "pipelines.cli", "submit", str(spec_file), "--watch", "--json", "--key", "again")
    assert json.loads(told.stdout)["run"] == done.run
    quick = ran(served, "-m", "pipelines.cli", "submit", str(spec_file), "--json", "--key", "again")
    assert json.loads(quick.stdout)["id"] == json.loads(told.stdout)["id"]
    wrong = ran(served, "-m", "pipelines.cli", "submit", str(spec_file), "--set", "measure.more.kind=nothing", "--json")
    assert (wrong.returncode, json.loads(wrong.stdout)["status"]) == (2, 422)


def test_an_interruption_leaves_the_job_alone_and_says_how_to_end_it(served, tamis, folder):
    path = folder / "interrupted.json"
    path.write_text(json.dumps(waiting_spec(folder, "interrupted")))
    line, env = command(served, "-m", "pipelines.cli", "submit", str(path), "--watch")
    with subprocess.Popen(line, env=env, stderr=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stderr is not None
        for text in process.stderr:
            if "is RUNNING" in text:
                process.send_signal(signal.SIGINT)
                break
        said = process.stderr.read()
        assert process.wait(280) == 130
    job = tamis.run("waits-interrupted")
    assert f"the job {job.id} goes on" in said
    assert f"/v1/runs/{job.id}/cancel" in said
    assert not job.over
    tamis.cancel(job.id)
    tamis.wait(job.id)


def test_the_tour_works(served, spec_file, tmp_path):
    said = ran(served, "-m", "pipelines.client.example", str(spec_file), str(tmp_path / "out"))
    assert said.returncode == 0, said.stderr
    assert "why: [('short', 1.0, 10.0)]" in said.stdout
    assert (tmp_path / "out" / "manifest.json").exists()


def test_the_client_brings_no_server_along():
    code = "import sys, pipelines.client; print(sorted({'fastapi', 'sqlalchemy', 'uvicorn', 'ray'} & set(sys.modules)))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert said.stdout.strip() == "[]"
