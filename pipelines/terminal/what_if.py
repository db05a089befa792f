"""Other thresholds next to those of the run."""

from collections.abc import Mapping
from typing import Any

from rich.console import RenderableType

from pipelines.terminal.parts import table


def what_if(answer: Mapping[str, Any]) -> RenderableType:
    raise NotImplementedError(answer)


__all__ = ["table", "what_if"]
