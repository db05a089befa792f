"""Server-sent events, read from bytes as they come (https://html.spec.whatwg.org/multipage/server-sent-events.html)."""

import re
from dataclasses import dataclass

_LINE = re.compile(rb"\r\n|\r|\n")
_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Message:
    """One event of a stream."""

    id: str
    event: str
    data: str


class Parser:
    """Turns bytes into messages; comments and unknown fields are nothing."""

    def __init__(self) -> None:
        self._rest = b""
        self._started = False
        self._id = ""
        self._event = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that these bytes complete."""
        text = self._rest + chunk
        if not self._started:
            if len(text) < len(_MARK) and _MARK.startswith(text):
                self._rest = text
                return []
            text, self._started = text.removeprefix(_MARK), True
        whole = text[:-1] if text.endswith(b"\r") else text  # the other half of \r\n may come next
        *lines, rest = _LINE.split(whole)
        self._rest = rest + text[len(whole) :]
        return [message for line in lines if (message := self._line(line.decode("utf-8", "replace"))) is not None]

    def _line(self, line: str) -> Message | None:
        if not line:
            return self._end()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        return None

    def _end(self) -> Message | None:
        found = Message(self._id, self._event or "message", "\n".join(self._data)) if self._data else None
        self._data, self._event = [], ""
        return found
