"""Labelling by keyboard: a document, the keys, one press an answer."""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import TextIO

from rich.console import Console
from rich.text import Text

from pipelines.labelling.human_oracle import Key
from pipelines.labelling.oracle import Question
from pipelines.terminal.parts import SOFT, plain
from pipelines.visible import preview

SHOWN_CHARACTERS = 3_000
_INTERRUPT, _END = "\x03", "\x04"


class Keyboard:
    """A person at a terminal. Where the input is no terminal, each line is a key."""

    def __init__(self, console: Console, keys: TextIO | None = None) -> None:
        self._console, self._keys = console, keys or sys.stdin

    def show(self, question: Question, labels: Sequence[str], done: int, total: int) -> str | Key:
        """Show a document until a key that means something is pressed."""
        page = self._console
        page.rule(plain(f"{done + 1} of {total} · {question.id or question.doc_id}", SOFT))
        page.print(plain(preview(question.text, SHOWN_CHARACTERS)), soft_wrap=True)
        choices = [Text.assemble((str(n), "bold"), " ", plain(label)) for n, label in enumerate(labels, 1)]
        others = [Text.assemble((key.value, "bold"), f" {key.name}") for key in Key]
        page.print(Text("   ").join([*choices, *others]))
        while True:
            pressed = self._press()
            if pressed.isdecimal() and 0 < int(pressed) <= len(labels):
                return labels[int(pressed) - 1]
            if pressed in {key.value for key in Key}:
                return Key(pressed)
            if pressed in {"", _INTERRUPT, _END}:
                return Key.quit

    def _press(self) -> str:
        """One key, lower case; nothing at the end of the input."""
        if not self._keys.isatty():
            line = self._keys.readline()
            return line.strip()[:1].lower() or ("?" if line else "")
        with _single_keys(self._keys):
            return os.read(self._keys.fileno(), 1).decode(errors="replace").lower()


@contextlib.contextmanager
def _single_keys(keys: TextIO) -> Iterator[None]:
    """A terminal that gives each key at once and does not show it."""
    import termios  # noqa: PLC0415 - only where there is a terminal
    import tty  # noqa: PLC0415 - the same

    before = termios.tcgetattr(keys)
    try:
        tty.setcbreak(keys, termios.TCSADRAIN)  # what was typed ahead stays
        yield
    finally:
        termios.tcsetattr(keys, termios.TCSADRAIN, before)
