"""A fake Hugging Face hub: model info with sizes, HEAD with ETag, GET with ranges, at any pace."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """files: name -> bytes of the one model `org/base`. asked: (method, path, range)."""

    files: dict[str, bytes]
    url: str = ""
    gated: bool = False
    seconds_a_block: float = 0.0
    cut_after: int | None = None
    """Bytes after which one answer breaks off, once."""
    wrong: str = ""
    """A file that is sent with other bytes than the hub says."""
    asked: list[tuple[str, str, str]] = field(default_factory=list)


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve on 127.0.0.1 until the block ends; sets `hub.url`."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def _say(self, code: int, headers: dict[str, str], body: bytes = b"") -> None:
            self.send_response(code)
            for key, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append((self.command, path, self.headers.get("Range", "")))
            if hub.gated:
                return self._say(403, {"X-Error-Code": "GatedRepo"})
            if path.startswith("/api/models/"):
                if not path.startswith("/api/models/org/base"):
                    return self._say(401, {"X-Error-Code": "RepoNotFound"})
                return self._say(200, {"Content-Type": "application/json"}, _info(hub))
            name = path.removeprefix(f"/org/base/resolve/{COMMIT}/")
            if name not in hub.files:
                return self._say(404, {"X-Error-Code": "EntryNotFound"})
            return self._file(name)

        do_HEAD = do_GET  # noqa: N815  (the server looks for this name)

        def _file(self, name: str) -> None:
            data = hub.files[name]
            about = {"X-Repo-Commit": COMMIT, "ETag": f'"{_sha(data)}"', "Accept-Ranges": "bytes"}
            sent = bytes(len(data)) if name == hub.wrong else data
            given = self.headers.get("Range", "")
            start = int(given.removeprefix("bytes=").split("-")[0] or 0) if given else 0
            if given:
                about["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            body = sent[start:]
            self.send_response(206 if given else 200)
            for key, value in {**about, "Content-Length": str(len(body))}.items():
                self.send_header(key, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            for at in range(0, len(body), 65536):
                if hub.cut_after is not None and start + at >= hub.cut_after:
                    hub.cut_after = None
                    self.close_connection = True
                    self.connection.close()
                    return
                try:
                    self.wfile.write(body[at : at + 65536])
                except OSError:
                    return
                time.sleep(hub.seconds_a_block)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _info(hub: Hub) -> bytes:
    siblings = []
    for name, data in hub.files.items():
        row: dict[str, object] = {"rfilename": name, "size": len(data), "blobId": "b" * 40}
        if name.endswith((".safetensors", ".bin")):
            row["lfs"] = {"sha256": _sha(data), "size": len(data), "pointerSize": 130}
        siblings.append(row)
    return json.dumps({"id": "org/base", "sha": COMMIT, "siblings": siblings}).encode()
