"""Rule files by name: those that come with tamis, and a user's own next to the spec.

    rules: gopher-quality@datatrove-0.10      specs/rules/gopher-quality@datatrove-0.10.yaml of this package
    rules: ./mine.yaml                        a file below the spec's folder

A rule file's content enters the key of the verdict, through its rules as bound; its name does not.
"""

import functools
from collections.abc import Callable
from pathlib import Path

from pipelines.yaml_text import read_yaml
from stages.catalog import did_you_mean
from stages.errors import SpecError
from stages.rules import RuleFile, parse_rule_file

FOLDER = Path(__file__).parent / "specs" / "rules"
SUFFIXES = (".yaml", ".yml")
MAX_BYTES = 1_000_000


def loader(folder: str | Path | None) -> Callable[[str], RuleFile]:
    """What finds rule files for a spec in `folder`; None: the spec came without a folder, so it has no own files.

    Raises (when called):
        SpecError: no such file, a path outside the folder, or a file that is no rule file.
    """
    return functools.partial(load, folder=None if folder is None else Path(folder))


def shipped() -> dict[str, Path]:
    """The rule files that come with tamis, by name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.yaml"))}


def load(name: str, folder: Path | None = None) -> RuleFile:
    """The rule file called `name`, or at the path `name` below `folder`.

    Raises:
        SpecError: no such file, a path outside the folder, or a file that is no rule file.
    """
    if name in shipped():
        return _shipped(name)
    if not name.endswith(SUFFIXES):
        message = f"there are no rules {name!r}{did_you_mean(name, list(shipped()))}"
        raise SpecError(message, rules=name)
    if folder is None:
        message = f"the rules {name!r} are a file, but this spec is not in a folder; use rules that come with tamis"
        raise SpecError(message, rules=name)
    path = (folder / name).resolve()
    if not path.is_relative_to(folder.resolve()):
        message = f"the rules {name!r} lie outside the spec's folder; put the file beside the spec"
        raise SpecError(message, rules=name)
    return _read(path, name)


@functools.cache
def _shipped(name: str) -> RuleFile:
    file = _read(shipped()[name], name)
    if file.name != name:
        raise SpecError(f"the rule file {name!r} calls itself {file.name!r}; make the two the same", rules=name)
    return file


def _read(path: Path, name: str) -> RuleFile:
    where = f"the rules {name!r}"
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SpecError(f"{where} are a file of more than {MAX_BYTES:,} bytes; that is no rule file", rules=name)
        fields = read_yaml(path.read_text(encoding="utf-8-sig"), where)
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{where} cannot be read: {error}; check the path", rules=name) from error
    return parse_rule_file(fields, where)
