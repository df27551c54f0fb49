"""A stand-in for the hub on loopback: it serves folders as repositories, and refuses the others in each of the hub's ways."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """What the hub has."""

    folders: dict[str, Path] = field(default_factory=dict)
    """Repository to the folder that it serves."""
    refusals: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Repository to the status and the error code of every answer."""
    stalls: set[str] = field(default_factory=set)
    """Repositories whose weights stop after some bytes."""
    cut: set[str] = field(default_factory=set)
    """Repositories whose weights end early, with the connection."""
    changed: dict[str, Callable[[bytes], bytes]] = field(default_factory=dict)
    """Repositories whose weights are not those that were announced."""
    silent: bool = False
    """Whether it accepts connections and never answers."""
    asked: threading.Event = field(default_factory=threading.Event)
    """Set by the first question."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the test is over: who waits may go."""
    tokens: set[str] = field(default_factory=set)
    """Authorisations that clients have sent."""
    address: str = ""


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """Serve until the block ends."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def _answer(self, body: bool) -> None:
        self.hub.asked.set()
        if self.hub.silent:
            self.hub.over.wait()
            return
        self.hub.tokens.add(self.headers.get("Authorization", ""))
        parts = self.path.split("?")[0].strip("/").removeprefix("api/models/").split("/")
        repository = "/".join(parts[:2])
        folder = self.hub.folders.get(repository)
        if folder is None:
            status, code = self.hub.refusals.get(repository, (404, "RepoNotFound"))
            self._send(status, {"X-Error-Code": code} if code else {}, b"", body)
            return
        path = folder / "/".join(parts[4:])
        if parts[2:3] != ["resolve"] or not path.is_file():
            self._send(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b"", body)
            return
        content = path.read_bytes()
        if body and repository in self.hub.changed and path.suffix == ".safetensors":
            content = self.hub.changed[repository](content)
        self._send(200, {"X-Repo-Commit": COMMIT, "ETag": f'"{path.name}"'}, content, body)

    def _send(self, status: int, headers: dict[str, str], content: bytes, body: bool) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if not body:
            return
        if self.path.endswith(".safetensors") and any(name in self.path for name in self.hub.stalls):
            self.wfile.write(content[:100])
            self.wfile.flush()
            self.hub.over.wait()
            return
        if self.path.endswith(".safetensors") and any(name in self.path for name in self.hub.cut):
            content = content[: len(content) // 2]
            self.close_connection = True
        self.wfile.write(content)
