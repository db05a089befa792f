"""The shape of the repository, which no single file's tests can hold."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stages.catalog import catalog, kind_of

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipelines", "stages", "learners", "trainer")
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 400, 50, 7
VAGUE = {"utils", "util", "helpers", "helper", "common", "core", "misc", "tools"}
#: A kernel is one loop over the bytes, and numba takes flat arguments.
KERNELS = (*(ROOT / "stages" / "kernels").rglob("*.py"), ROOT / "trainer" / "kernels.py")
#: A command's parameters are its options.
COMMANDS = (*(ROOT / "pipelines").glob("cli*.py"), *(ROOT / "pipelines" / "commands").glob("*.py"))
#: What a route asks for are its query's parameters, and a client's call has those of its route.
ROUTES = tuple(
    path
    for folder in ("service/routes", "service/pages", "client")
    for path in (ROOT / "pipelines" / folder).glob("*.py")
)
#: The process boundaries: the command line, the entries of worker processes and drivers, and the end of a request.
BOUNDARIES = {
    "pipelines/cli.py",
    "pipelines/worker.py",
    "pipelines/nursery.py",
    "pipelines/engine_ray.py",
    "pipelines/service/driver.py",
    "pipelines/service/observe/requests.py",
}
TEXT_SUFFIXES = {".py", ".toml", ".yaml", ".yml", ".md", ".txt", ".cfg", ".html", ".css", ".js", ".j2", ".json", ""}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("name", PACKAGES)
def test_top_level_name_resolves_inside_this_repository(name: str) -> None:
    module = importlib.import_module(name)

    assert Path(str(module.__file__)) == ROOT / name / "__init__.py"


def test_imports_keep_their_contracts() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([program, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


def test_files_are_short() -> None:
    lengths = {str(p.relative_to(ROOT)): len(p.read_text().splitlines()) for p in sources(*PACKAGES, "tests")}

    assert {name: n for name, n in lengths.items() if n >= MAX_FILE_LINES} == {}


def test_functions_are_short_and_take_few_parameters() -> None:
    long, wide = {}, {}
    for path in sources(*PACKAGES):
        for f in functions(path):
            name = f"{path.relative_to(ROOT)}:{f.name}"
            lines = (f.end_lineno or f.lineno) - f.lineno + 1
            names = [a.arg for a in (*f.args.posonlyargs, *f.args.args, *f.args.kwonlyargs)]
            parameters = len(names) - (names[:1] in (["self"], ["cls"]))
            if lines >= MAX_FUNCTION_LINES and path not in KERNELS:
                long[name] = lines
            if parameters > MAX_PARAMETERS and path not in {*KERNELS, *COMMANDS, *ROUTES}:
                wide[name] = parameters

    assert (long, wide) == ({}, {})


def test_no_module_has_a_vague_name() -> None:
    assert [p for p in sources(*PACKAGES, "tests") if p.stem in VAGUE] == []


def test_a_stage_is_named_like_its_file() -> None:
    for cls in catalog().values():
        if not cls.__module__.startswith("stages."):
            continue
        kind = kind_of(cls)
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        assert (cls.__module__.rpartition(".")[2], snake) == (kind, kind)


def test_a_stage_folder_holds_one_stage_a_file() -> None:
    modules = [cls.__module__ for cls in catalog().values()]

    assert sorted(modules) == sorted(set(modules))


def test_stage_files_import_no_kernels_at_the_top() -> None:
    """Importing a kernel imports numba, which the command line cannot wait for."""
    for path in sources("stages/text", "stages/corpus", "stages/sources", "stages/sinks"):
        tops = [n for n in ast.parse(path.read_text()).body if isinstance(n, ast.Import | ast.ImportFrom)]
        names = [alias.name for n in tops for alias in n.names] + [getattr(n, "module", "") or "" for n in tops]
        assert not any(name.startswith(("stages.kernels", "numba")) for name in names), path


def test_the_catalog_loads_without_heavy_libraries() -> None:
    heavy = ("numba", "ray", "ftfy", "fasttext_pybind", "tldextract", "torch", "resiliparse", "plotly")
    code = f"import sys; from stages.catalog import catalog; catalog(); print([m for m in {heavy} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert result.stdout.strip() == "[]"


def test_exceptions_are_caught_broadly_at_the_process_boundaries_only() -> None:
    broad = [
        str(path.relative_to(ROOT))
        for path in sources(*PACKAGES)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type) and not _raises_again(node)
    ]

    assert set(broad) <= BOUNDARIES


def _is_broad(caught: ast.expr | None) -> bool:
    return caught is None or (isinstance(caught, ast.Name) and caught.id in {"Exception", "BaseException"})


def _raises_again(handler: ast.ExceptHandler) -> bool:
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def test_the_repository_names_no_machine_and_no_registry() -> None:
    pattern = re.compile(r"/(?:work|farm)/(?:main|shared)|pypi[.]org|python[h]osted[.]org|registr[y][.]npmjs")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    paths = [ROOT / line for line in listed.stdout.splitlines()]
    named = [p for p in paths if p.suffix in TEXT_SUFFIXES and p.is_file() and pattern.search(p.read_text())]

    assert named == [Path(__file__)] or named == []
