"""The README says what is true: its table of stages is the catalogue, its rule files and commands exist."""

import os
import re
from pathlib import Path

from pipelines.rule_files import shipped
from pipelines.stage_table import markdown

README = Path(__file__).parents[1] / "README.md"
TABLE = re.compile(r"<!-- stages -->\n(.*?)\n<!-- /stages -->", re.DOTALL)


def test_the_table_of_stages_is_the_catalogue():
    text = README.read_text(encoding="utf-8")
    if os.environ.get("TAMIS_GOLDEN") == "write":
        README.write_text(
            TABLE.sub(lambda _: f"<!-- stages -->\n{markdown()}\n<!-- /stages -->", text), encoding="utf-8"
        )
        text = README.read_text(encoding="utf-8")
    found = TABLE.search(text)
    assert found is not None
    assert found[1] == markdown(), "run `make golden`"


def test_every_rule_file_that_is_named_exists():
    named = set(re.findall(r"rules: ([a-z0-9.-]+@[A-Za-z0-9.-]+)", README.read_text(encoding="utf-8")))
    assert named <= set(shipped())
    assert named


def test_every_command_that_is_named_exists():
    from pipelines.cli import app  # noqa: PLC0415 - Typer is for the command line

    named = set(re.findall(r"`tamis ([a-z-]+)", README.read_text(encoding="utf-8")))
    known = {c.name or c.callback.__name__ for c in app.registered_commands} | {g.name for g in app.registered_groups}
    assert named <= known
