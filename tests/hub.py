"""A hub on this machine: the part of the Hugging Face hub's HTTP interface that downloads use, over a folder."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def local_hub(root: Path) -> Iterator[str]:
    """The address of a hub whose repository owner/name holds what lies in ``root/owner/name``."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Hub, root))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Hub(BaseHTTPRequestHandler):
    def __init__(self, root: Path, *arguments: Any) -> None:
        self.root = root
        super().__init__(*arguments)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        match unquote(urlparse(self.path).path).strip("/").split("/"):
            case ["api", "models", owner, name, *rest] if (folder := self.root / owner / name).is_dir():
                files = sorted(path for path in folder.rglob("*") if path.is_file())
                paths = [path.relative_to(folder).as_posix() for path in files]
                tree = [
                    {"type": "file", "path": path, "size": file.stat().st_size, "oid": _etag(file)}
                    for path, file in zip(paths, files, strict=True)
                ]
                info = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": [{"rfilename": path} for path in paths]}
                self._answer(json.dumps(tree if rest[:1] == ["tree"] else info).encode(), "application/json")
            case [owner, name, "resolve", _, *parts] if (file := self.root.joinpath(owner, name, *parts)).is_file():
                self._answer(file.read_bytes(), "application/octet-stream", ETag=f'"{_etag(file)}"')
            case ["api", *_]:
                self._answer(b"{}", "application/json", 404, **{"X-Error-Code": "RepoNotFound"})
            case _:
                self._answer(b"", "text/plain", 404, **{"X-Error-Code": "EntryNotFound"})

    def _answer(self, body: bytes, kind: str, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Type": kind, "X-Repo-Commit": COMMIT, **headers}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _etag(file: Path) -> str:
    return hashlib.sha1(file.read_bytes()).hexdigest()
