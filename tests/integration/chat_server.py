"""A small OpenAI-compatible server on loopback, for tests: it answers by script and remembers what it was asked.

As a script (`python chat_server.py LOG`) it answers "high" or "low" by the text, appends each question to a log, and
prints its port.
"""

import contextlib
import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

#: An answer: status, body (JSON, or text as it is), headers. "hang" never answers.
Answer = tuple[int, Any, dict[str, str]] | str


@dataclass
class Chat:
    """What the server was asked, and what it says."""

    answer: Callable[[str, int], Answer]
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def texts(self) -> list[str]:
        """The last message of each question."""
        return [body["messages"][-1]["content"] for body in self.asked]


def says(content: str | None, **more: Any) -> Answer:
    """A whole answer of an OpenAI-compatible endpoint."""
    message = {"role": "assistant", "content": content, "refusal": more.pop("refusal", None)}
    usage = more.pop("usage", {"prompt_tokens": 10, "completion_tokens": 1})
    choice = {"index": 0, "message": message, "finish_reason": more.pop("finish_reason", "stop")}
    return 200, {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}, {}


@contextlib.contextmanager
def serving(answer: Callable[[str, int], Answer]) -> Iterator[Chat]:
    """A server that answers with `answer(text, how many questions came before)`."""
    chat = Chat(answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            chat.headers.append(dict(self.headers))
            chat.asked.append({**body, "path": self.path})
            found = chat.answer(body["messages"][-1]["content"], len(chat.asked) - 1)
            if isinstance(found, str):
                chat.release.wait(60)
                self.close_connection = True
                return
            status, value, headers = found
            data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
            self.send_response(status)
            for name, text in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *args: object) -> None:
            """A client that went away is a test's doing."""

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        chat.url = f"http://127.0.0.1:{server.server_port}/v1"
        try:
            yield chat
        finally:
            chat.release.set()
            server.shutdown()
            thread.join()


def by_text(log: Path) -> Callable[[str, int], Answer]:
    """Answers "high" where the text has an even number of characters, and notes each question before it answers."""

    def answer(text: str, number: int) -> Answer:
        del number
        with log.open("a") as lines:
            lines.write(json.dumps(text) + "\n")
        return says("high" if len(text) % 2 == 0 else "low")

    return answer


if __name__ == "__main__":
    with serving(by_text(Path(sys.argv[1]))) as running:
        sys.stdout.write(running.url + "\n")
        sys.stdout.flush()
        sys.stdin.read()
