"""`tamis report ABLATION`: the page of an ablation by its id or the beginning of it, beside runs of the same names."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ablation_results import result

from pipelines import api
from pipelines.store import Store
from stages.errors import SpecError

ID = "web-en-ablation-0a1b2c3d"


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A store with a finished ablation whose report was not written, and one that is not finished."""
    store = Store.open(tmp_path_factory.mktemp("ablations") / "store", create=True)
    made = result({"unfiltered": 1.0, "curated": 1.3}, seeds=2, budgets=(300_000, 600_000))
    store.create_json(f"ablations/{ID}/result.json", made)
    store.create_json("ablations/web-en-unfinished-11223344/request.json", {})
    return store


def report(store, *args):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "TAMIS_STORE": store.url}
    command = [sys.executable, "-m", "pipelines.cli", "report", *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_report_of_an_ablation_is_written_where_it_is_asked_for(kept, tmp_path):
    out = tmp_path / "deep" / "report.html"

    done = report(kept, ID, "--out", out)

    assert (done.returncode, done.stdout, done.stderr) == (0, f"{out}\n", "")
    assert out.read_text("utf-8") == kept.get(f"ablations/{ID}/report.html").decode()


def test_the_beginning_of_an_id_is_enough_and_the_place_is_told(kept):
    done = report(kept, "web-en-abl")

    assert done.stdout == f"{kept.url}/ablations/{ID}/report.html\n"


def test_the_numbers_of_an_ablation_are_its_result_and_what_it_shows(kept):
    page, numbers = api.report(ID, store=kept)

    found = json.loads(numbers)
    assert found["result"] == kept.get_json(f"ablations/{ID}/result.json")
    assert found["verdict"][1:] in page
    assert json.loads(report(kept, ID, "--json").stdout) == found


def test_a_name_that_is_neither_a_run_nor_an_ablation_is_refused_with_what_there_is(kept):
    with pytest.raises(SpecError) as caught:
        api.report("web-en-unfinished", store=kept)

    assert caught.value.message.endswith(f"; its ablations are {ID}")


def test_a_run_goes_before_an_ablation_whose_id_begins_alike(finished_run):
    store = finished_run.store
    store.create_json("ablations/hostile-ablation-00112233/result.json", {})

    assert api.report_place("hostile", store=store) == f"runs/{finished_run.run}"
    assert api.report_place("hostile-ablation-00112233", store=store) == "ablations/hostile-ablation-00112233"
    store.delete("ablations/hostile-ablation-00112233/result.json")
