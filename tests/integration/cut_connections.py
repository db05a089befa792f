"""A TCP proxy that breaks connections when a test says so: before an answer, after some bytes of it, or at once."""

import contextlib
import socket
import threading
from typing import Self


class Proxy:
    """Forwards to `target`; `url` is where it listens. Use it in a `with` block."""

    def __init__(self, target: str) -> None:
        self.aim(target)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._limits: list[int] = []
        self.connections = 0
        self.answered = 0  # bytes that came back from the target
        self.asked = b""  # everything that was asked

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self._listening.close()
        self.cut()

    def aim(self, target: str) -> None:
        """Forward new connections to the service at this address."""
        host, _, port = target.removeprefix("http://").rpartition(":")
        self._target = host, int(port)

    def limit(self, *nbytes: int) -> None:
        """Break the next connections, one after the other, after so many bytes of answers."""
        with self._lock:
            self._limits += nbytes

    def cut(self) -> None:
        """Break every connection now."""
        with self._lock:
            for side in self._open:
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with self._lock:
            self.connections += 1
            most = self._limits.pop(0) if self._limits else None
        try:
            far = socket.create_connection(self._target)
        except OSError:
            near.close()
            return
        with self._lock:
            self._open |= {near, far}
        there = threading.Thread(target=self._pour, args=(near, far, None), daemon=True)
        there.start()
        self._pour(far, near, most)
        there.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _pour(self, source: socket.socket, sink: socket.socket, most: int | None) -> None:
        left = most
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if source.getpeername() == self._target:
                    self.answered += len(data)
                else:
                    self.asked += data
                sink.sendall(data if left is None else data[:left])
                if left is not None and (left := left - len(data)) <= 0:
                    break
        for side in (source, sink):
            with contextlib.suppress(OSError):
                side.shutdown(socket.SHUT_RDWR)
