"""A Hugging Face Hub that takes uploads as the real one does: key, preupload, LFS, one commit.

It holds repositories in memory, checks every hash, and refuses what the real hub refuses.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

LFS = (".safetensors", ".zip", ".png")
"""What the hub's default .gitattributes keep as LFS, of what a release holds."""


@dataclass
class Repo:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


class FakeHub:
    """`key`: the token that may write. `corrupt`: LFS objects arrive with another hash."""

    def __init__(self, key: str, *, corrupt: bool = False, down: int = 0) -> None:
        self.key, self.corrupt, self.down = key, corrupt, down
        self.repos: dict[str, Repo] = {}
        self.objects: dict[str, bytes] = {}
        self.paths: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                outer._serve(self)

            def do_GET(self) -> None:
                outer._serve(self)

            def do_HEAD(self) -> None:
                outer._serve(self)

            def do_PUT(self) -> None:
                outer._serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        path = handler.path.split("?")[0]
        self.paths.append(f"{handler.command} {path}")
        status, value = self._answer(handler, path, body)
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(data)))
        handler.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
        handler.send_header("X-Repo-Commit", "c0ffee")
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(data)

    def _answer(self, handler: BaseHTTPRequestHandler, path: str, body: bytes) -> tuple[int, Any]:
        if self.down:
            self.down -= 1
            return 503, {"error": "Service Unavailable"}
        if path.startswith("/upload/"):  # signed addresses carry no key
            return self._put(path.removeprefix("/upload/"), body)
        if handler.headers.get("Authorization") != f"Bearer {self.key}":
            return 401, {"error": "Invalid username or password."}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        for name, repo in self.repos.items():
            if path.startswith((f"/api/models/{name}", f"/{name}.git", f"/{name}/resolve/")):
                rest = path.removeprefix("/api/models").removeprefix(f"/{name}")
                return self._in_repo(name, repo, rest, handler, body)
        return 404, {"error": "Repository not found"}

    def _create(self, wanted: dict[str, Any]) -> tuple[int, Any]:
        name = "/".join(filter(None, [wanted.get("organization") or "me", wanted["name"]]))
        if name in self.repos:
            return 409, {
                "error": "You already created this model repo",
                "url": f"{self.url}/{name}",
            }
        self.repos[name] = Repo(
            bool(wanted.get("private") or wanted.get("visibility") == "private")
        )
        return 200, {"url": f"{self.url}/{name}", "name": name, "id": "1"}

    def _in_repo(
        self, name: str, repo: Repo, rest: str, handler: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, Any]:
        if rest.startswith("/preupload/"):
            return 200, {
                "files": [
                    {
                        "path": f["path"],
                        "uploadMode": "lfs" if f["path"].endswith(LFS) else "regular",
                        "shouldIgnore": False,
                    }
                    for f in json.loads(body)["files"]
                ]
            }
        if rest == ".git/info/lfs/objects/batch":
            objects = [self._batch(o) for o in json.loads(body)["objects"]]
            return 200, {"transfer": "basic", "objects": objects}
        if rest == ".git/verify":
            told = json.loads(body)
            there = len(self.objects.get(told["oid"], b"")) == told["size"]
            return (200, {}) if there else (404, {"error": "no such object"})
        if rest.startswith("/resolve/main/"):
            file = repo.files.get(rest.removeprefix("/resolve/main/"))
            return (404, {"error": "Entry not found"}) if file is None else (200, file)
        if rest.startswith("/tree/"):
            return 200, [
                {"type": "file", "path": name, "size": len(data), "oid": "0"}
                for name, data in sorted(repo.files.items())
            ]
        if rest.startswith("/commit/"):
            return self._commit(name, repo, body)
        if rest.startswith("/paths-info/"):
            return 200, self._paths(repo, handler, body)
        if rest.startswith(("/revision/", "")) and handler.command == "GET":
            return 200, {"id": name, "sha": "c0ffee", "private": repo.private, "siblings": []}
        return 404, {"error": f"nothing at {rest}"}

    def _batch(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if wanted["oid"] in self.objects:  # what is there is not asked for again
            return {"oid": wanted["oid"], "size": wanted["size"]}
        actions = {"upload": {"href": f"{self.url}/upload/{wanted['oid']}"}}
        return {"oid": wanted["oid"], "size": wanted["size"], "actions": actions}

    def _put(self, oid: str, body: bytes) -> tuple[int, Any]:
        if hashlib.sha256(body).hexdigest() != oid:
            return 400, {"error": "the checksum does not match"}
        self.objects[oid] = body
        return 200, {}

    def _commit(self, name: str, repo: Repo, body: bytes) -> tuple[int, Any]:
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                repo.commits.append(value["summary"])
            elif entry["key"] == "file":
                repo.files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "deletedFile":
                del repo.files[value["path"]]
            elif entry["key"] == "lfsFile":
                if value["oid"] not in self.objects:
                    return 400, {"error": f"LFS object {value['oid']} is missing"}
                repo.files[value["path"]] = self.objects[value["oid"]]
        return 200, {
            "commitUrl": f"{self.url}/{name}/commit/c0ffee", "commitOid": "c0ffee", "success": True
        }  # fmt: skip

    def _paths(self, repo: Repo, handler: BaseHTTPRequestHandler, body: bytes) -> list[Any]:
        if "json" in (handler.headers.get("Content-Type") or ""):
            wanted = json.loads(body)["paths"]
        else:
            from urllib.parse import parse_qs

            wanted = parse_qs(body.decode())["paths"]
        found = []
        for path in wanted:
            if path not in repo.files:
                continue
            data = repo.files[path]
            sha = hashlib.sha256(data + b"!" * self.corrupt).hexdigest()
            row: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": "0"}
            if path.endswith(LFS):
                row["lfs"] = {"oid": sha, "size": len(data), "pointerSize": 130}
            found.append(row)
        return found
