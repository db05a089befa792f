"""Proving from Python: the calls of `tamis ablate`, as `pipelines.api` gives them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.ablation.request import AblateRequest, sections
from pipelines.opening import open_store, view
from pipelines.progress import NullWatch, Watch
from pipelines.run import Options
from pipelines.store import Store


def ablate_request(fields: Mapping[str, Any]) -> AblateRequest:
    """What `ablate` is asked, from the fields of the section `ablate:`; relative paths are below the current folder.

    Raises:
        SpecError: an unknown field, or a value that is refused.
    """
    return sections(dict(fields), Path.cwd())[0]


def ablate(
    run: str,
    request: AblateRequest | Mapping[str, Any],
    *,
    store: str | Path | Store | None = None,
    options: Options | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train arms of a run on equal terms and say what their losses prove; resumes, and finds what was trained before.

    Gives what `result.json` in the ablation's folder holds; its report is beside it.

    Raises:
        SpecError: no such run, an arm cannot be made of it, or there is no tokenizer.
        DataError: an arm or the panel is empty.
        StageError: training failed.
        StorageError: the store cannot be read or written.
    """
    from pipelines.ablation.ablate import ablate as train  # noqa: PLC0415 - training loads what it uses

    asked = request if isinstance(request, AblateRequest) else ablate_request(request)
    found = view(run, store=open_store(store))
    return train(found, asked, options or Options(engine="local"), watch or NullWatch())
