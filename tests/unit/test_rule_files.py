from pathlib import Path

import pytest

from pipelines.rule_files import load, loader, shipped
from stages.errors import SpecError

MINE = """
name: mine
about: Lines of 日本語 and עברית.
rules:
  - {column: stats.words, ge: 50, on_null: drop, reason: short, cite: "me, 2026"}
"""


@pytest.mark.parametrize("name", shipped())
def test_every_rule_file_that_comes_with_tamis_can_be_read_and_cites_a_source_for_every_line(name: str) -> None:
    file = load(name)

    assert file.name == name
    assert [rule.reason for rule in file.rules if not rule.cite] == []
    assert len({(rule.reason, rule.column, rule.test) for rule in file.rules}) == len(file.rules)


def test_a_file_below_the_folder_of_the_spec_is_read(tmp_path: Path) -> None:
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "mine.yaml").write_text(MINE, encoding="utf-8")

    file = loader(tmp_path)("./rules/mine.yaml")

    assert (file.name, file.about, [r.reason for r in file.rules]) == ("mine", "Lines of 日本語 and עברית.", ["short"])


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("gofer", None, "there are no rules 'gofer'"),
        ("mine.yaml", None, "the rules 'mine.yaml' cannot be read"),
        ("../mine.yaml", None, "the rules '../mine.yaml' lie outside the spec's folder"),
        ("/etc/mine.yaml", None, "the rules '/etc/mine.yaml' lie outside the spec's folder"),
        ("link.yaml", None, "the rules 'link.yaml' lie outside the spec's folder"),
        ("mine.yaml", "rules: [", "the rules 'mine.yaml' cannot be read as YAML"),
        ("mine.yaml", "a: &a [1]\nb: *a", "the rules 'mine.yaml' cannot be read as YAML: aliases"),
        ("mine.yaml", MINE + "name: 再", "the rules 'mine.yaml' cannot be read as YAML: the key 'name' is given twice"),
        ("mine.yaml", "name: !!int x", "the rules 'mine.yaml' cannot be read as YAML: 'x' is no valid int (line 1)"),
        ("mine.yaml", "name: {{ n }}", "the rules 'mine.yaml' cannot be read as YAML: a key must be plain text"),
        ("mine.yaml", "[1]", "the rules 'mine.yaml' is not a rule file"),
        ("mine.yaml", "name: a\nrules: [7]", "the rules 'mine.yaml' rules[0] is 7, not a mapping"),
        ("mine.yaml", MINE.replace("ge:", "gee:"), "the rules 'mine.yaml' rules[0] has the unknown field 'gee'"),
        ("mine.yaml", MINE.replace("about:", "abuot:"), "the rules 'mine.yaml' has the unknown field 'abuot'; did you"),
        ("mine.yaml", "[" * 100_000, "the rules 'mine.yaml' cannot be read as YAML: it is nested too deeply"),
        ("mine.yaml", "#" * 2_000_000, "the rules 'mine.yaml' are a file of more than 1,000,000 bytes"),
    ],
)
def test_a_wrong_rule_file_is_refused_with_its_name(
    tmp_path: Path, name: str, content: str | None, sentence: str
) -> None:
    folder = tmp_path / "spec"
    folder.mkdir()
    (tmp_path / "outside.yaml").write_text(MINE, encoding="utf-8")
    (folder / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    if content is not None:
        (folder / name).write_text(content, encoding="utf-8")

    with pytest.raises(SpecError) as refused:
        loader(folder)(name)

    assert refused.value.message.startswith(sentence)


def test_no_is_the_norwegian_language_in_a_rule_file_too(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        MINE.replace("ge: 50", "where: {lang.code: [no, nb]}, ge: 50"), encoding="utf-8"
    )

    (rule,) = loader(tmp_path)("mine.yaml").rules

    assert rule.where == {"lang.code": ["no", "nb"]}


def test_a_spec_without_a_folder_has_no_rule_files_of_its_own() -> None:
    with pytest.raises(SpecError, match="this spec is not in a folder"):
        loader(None)("mine.yaml")
