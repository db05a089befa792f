"""What the command line shows.

Text from a corpus is never parsed as markup, and its control characters are written out.
"""

from pipelines.terminal.screens import (
    console,
    show_doctor,
    show_explanation,
    show_export,
    show_plan,
    show_run,
    show_runs,
    show_sample,
    show_stages,
    show_status,
    show_what_if,
)
from pipelines.terminal.watch import TerminalWatch, watching

__all__ = [
    "TerminalWatch",
    "console",
    "show_doctor",
    "show_explanation",
    "show_export",
    "show_plan",
    "show_run",
    "show_runs",
    "show_sample",
    "show_stages",
    "show_status",
    "show_what_if",
    "watching",
]
