"""A Higgsfield on 127.0.0.1 that does what its documentation says, and keeps a ledger.

`FakeHiggsfield(...)` runs in a thread. `faults`: answers that go wrong, each used up in turn;
`ledger`: images charged by order, refunds taken off; `pictures`: how many of them were fetched.
"""

from __future__ import annotations

import io
import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from PIL import Image

KEY, SECRET = "key-id-1", "s3cret-of-key"
"""The account that the fake knows."""

FAST = {
    **{"poll_first_s": 0.01, "poll_longest_s": 0.03, "first_wait_s": 0.001},
    **{"longest_wait_s": 0.01, "job_s": 30.0, "slot_s": 30.0},
}
"""`source.limits` under which a test waits for nothing."""

MODELS = {
    "higgsfield-ai/soul/standard": "v1",
    "higgsfield-ai/soul/v2/standard": "v2",
    "higgsfield-ai/soul/cinema": "cinema",
}
ASPECTS = {
    "1:1": ((1152, 1152), (1536, 1536)),
    "3:4": ((1152, 1536), (1536, 2048)),
    "4:3": ((1536, 1152), (2048, 1536)),
    "2:3": ((1024, 1536), (1365, 2048)),
    "3:2": ((1536, 1024), (2048, 1365)),
    "9:16": ((864, 1536), (1152, 2048)),
    "16:9": ((1536, 864), (2048, 1152)),
}
ENDED = ("completed", "failed", "nsfw", "canceled")
BUSY_WORDS = (
    "Maximum number of concurrent requests ({n}) has been reached",
    "Too many generations in progress",
    "Please wait until one of your running jobs ends.",
)


@dataclass
class Fault:
    """One bad answer to a call whose `METHOD path` holds `on`. status 0: the line is cut.

    after: the call is carried out first, so that only the answer is lost. raw: sent as it is.
    """

    on: str
    status: int = 500
    detail: Any = "internal error"
    after: bool = False
    raw: bytes | None = None


@dataclass
class Job:
    """One order the service took."""

    id: str
    model: str
    body: dict[str, Any]
    born: float
    outcome: str
    canceled: bool = False


@dataclass
class Reference:
    """One Soul ID."""

    id: str
    name: str
    version: str
    born: float
    images: list[str]
    fails: str = ""


@dataclass
class FakeHiggsfield:
    """outcome(n): what becomes of the n-th order, counted from 1. times: seconds queued, working.

    files: what goes wrong with the next fetched pictures, one a fetch: cut | garbage | half | slow.
    v1: headers that the older routes accept.
    before: called with the number of every request before it is carried out, `after` when it is
    carried out but not yet answered: the moments at which a client may be killed.
    """

    key: str = KEY
    secret: str = SECRET
    limit: int = 4
    times: tuple[float, float] = (0.0, 0.0)
    outcome: Callable[[int], str] = lambda n: "completed"
    credits: float = 1000.0
    file_life: float = 7 * 24 * 3600.0
    picture: tuple[int, int] | None = None
    faults: list[Fault] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    reference_fails: str = ""
    v1: tuple[str, ...] = ("pair", "key")
    before: Callable[[int], None] = lambda n: None
    after: Callable[[int], None] = lambda n: None

    def __post_init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.references: dict[str, Reference] = {}
        self.by_key: dict[str, tuple[str, str]] = {}
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.uploads: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.ledger: dict[str, int] = {}
        self.most_at_once = 0
        self._lock = threading.RLock()
        self._jpegs: dict[tuple[int, int], bytes] = {}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _any(self) -> None:
                outer._serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        for verb in ("GET", "POST", "PUT", "DELETE"):
            setattr(Handler, f"do_{verb}", Handler._any)

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """A client that was killed is no news."""

        self._http = Server(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
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

    @property
    def charged(self) -> int:
        """Images that stand on the bill: those of failed, held back and cancelled orders do not."""
        with self._lock:
            for job in self.jobs.values():
                if self._state(job) in ENDED[1:]:
                    self.ledger[job.id] = 0
            return sum(self.ledger.values())

    def submits(self) -> list[tuple[dict[str, str], Any]]:
        """(headers, body) of every order that was sent."""
        return [(h, b) for m, p, h, b in self.requests if m == "POST" and p.strip("/") in MODELS]

    # ---- one request

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("Content-Length") or 0)
        raw = handler.rfile.read(size)
        kind = handler.headers.get("Content-Type", "")
        body = json.loads(raw) if raw and "json" in kind else raw
        path = urlsplit(handler.path).path
        with self._lock:
            self.requests.append((handler.command, path, dict(handler.headers), body))
            number = len(self.requests)
            name = f"{handler.command} {path}"
            fault = next((f for f in self.faults if f.on in name), None)
            if fault is not None:
                self.faults.remove(fault)
        self.before(number)
        if fault is None or fault.after:
            with self._lock:
                status, value, headers = self._do(handler, path, body)
        if fault is not None:
            status, headers = fault.status, {}
            value = fault.raw if fault.raw is not None else {"detail": fault.detail}
        self.after(number)
        if status == 0:
            handler.close_connection = True
            return
        self._answer(handler, status, value, headers)

    def _answer(
        self, handler: BaseHTTPRequestHandler, status: int, value: Any, headers: dict[str, str]
    ) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        cut = int(headers.pop("x-cut", 0))
        slow = headers.pop("x-slow", "")
        try:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(content)))
            handler.send_header("X-Correlation-ID", f"corr-{uuid.uuid4().hex[:8]}")
            for name, text in {"Content-Type": "application/json", **headers}.items():
                handler.send_header(name, text)
            handler.end_headers()
            if slow:
                for start in range(0, len(content), 4096):
                    handler.wfile.write(content[start : start + 4096])
                    handler.wfile.flush()
                    time.sleep(0.02)
                return
            handler.wfile.write(content[:cut] if cut else content)
            if cut:
                handler.close_connection = True
        except OSError:
            pass  # the client was killed while it was being answered

    def _do(
        self, handler: BaseHTTPRequestHandler, path: str, body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        method, parts = handler.command, path.strip("/").split("/")
        if parts[0] == "made":
            return self._file(parts)
        if parts[0] == "put":
            return self._put(handler, parts[1], body)
        if not self._allowed(handler, v1=parts[0] == "v1"):
            return 401, {"detail": "Invalid credentials"}, {}
        if parts[:2] == ["v1", "custom-references"]:
            return self._reference(handler, method, parts[2:], body)
        if path == "/files/generate-upload-url":
            name = uuid.uuid4().hex
            address = {"upload_url": f"{self.url}/put/{name}?sig=signed-{name}"}
            more = {"public_url": f"{self.url}/pub/{name}"}
            return 200, {**address, **more, "upload_headers": {"x-amz-tagging": "user=1"}}, {}
        if parts[0] == "requests":
            return self._request(method, parts)
        if path == "/models":
            return 200, {"models": sorted(MODELS)}, {}
        if method == "POST" and parts[0] == "estimate":
            return self._estimate("/".join(parts[1:]), body)
        if method == "POST":
            return self._submit("/".join(parts), body, handler.headers.get("Idempotency-Key"))
        return 404, {"detail": "Not Found"}, {}

    def _allowed(self, handler: BaseHTTPRequestHandler, *, v1: bool) -> bool:
        key = handler.headers.get("Authorization") == f"Key {self.key}:{self.secret}"
        sent = (handler.headers.get("hf-api-key"), handler.headers.get("hf-secret"))
        pair = sent == (self.key, self.secret)
        if not v1:
            return key
        return (pair and "pair" in self.v1) or (key and "key" in self.v1)

    # ---- orders

    def _wrong(self, body: Any) -> list[dict[str, Any]]:
        """Validation in the manner of FastAPI."""
        if not isinstance(body, dict):
            return [{"loc": ["body"], "msg": "value is not a valid dict"}]
        rules: dict[str, Callable[[Any], bool]] = {
            "prompt": lambda v: isinstance(v, str) and bool(v.strip()),
            "aspect_ratio": lambda v: v in ASPECTS,
            "resolution": lambda v: v in ("720p", "1080p"),
            "batch_size": lambda v: v in (1, 4) and not isinstance(v, bool),
            "seed": lambda v: isinstance(v, int) and 1 <= v <= 1_000_000,
            "enhance_prompt": lambda v: isinstance(v, bool),
            "custom_reference_strength": lambda v: isinstance(v, int | float) and 0 <= v <= 1,
            "style_strength": lambda v: isinstance(v, int | float) and 0 <= v <= 1,
        }
        missing = [] if "prompt" in body else [{"loc": ["body", "prompt"], "msg": "field required"}]
        return missing + [
            {"loc": ["body", name], "msg": f"invalid value {body[name]!r}"}
            for name, good in rules.items()
            if name in body and not good(body[name])
        ]

    def _submit(self, model: str, body: Any, key: str | None) -> tuple[int, Any, dict[str, str]]:
        if model not in MODELS:
            return 404, {"detail": f"Unknown model {model}"}, {}
        if wrong := self._wrong(body):
            return 422, {"detail": wrong}, {}
        same = json.dumps([model, body], sort_keys=True)
        if key is not None and key in self.by_key:
            old_body, old_id = self.by_key[key]
            if old_body != same:
                return 422, {"detail": "Idempotency-Key was used with another body"}, {}
            return 200, self._queued(old_id), {}
        reference = body.get("custom_reference_id")
        if reference is not None and not self._fits(reference, MODELS[model]):
            return 422, {"detail": "custom_reference_id: no such reference for this model"}, {}
        if self.credits < self._credits(body):
            return 403, {"detail": "Not enough credits"}, {}
        busy = [j for j in self.jobs.values() if self._state(j) not in ENDED and j.model == model]
        if len(busy) >= self.limit:
            words = BUSY_WORDS[len(self.requests) % len(BUSY_WORDS)]
            return 400, {"detail": words.format(n=self.limit)}, {}
        self.most_at_once = max(self.most_at_once, len(busy) + 1)
        job = Job(
            str(uuid.uuid4()), model, body, time.monotonic(), self.outcome(len(self.jobs) + 1)
        )
        self.jobs[job.id] = job
        self.ledger[job.id] = int(body.get("batch_size", 1))
        self.credits -= self._credits(body)
        if key is not None:
            self.by_key[key] = (same, job.id)
        return 200, self._queued(job.id), {}

    def _credits(self, body: dict[str, Any]) -> float:
        each = 1.5 if body.get("resolution", "720p") == "720p" else 3.0
        return each * int(body.get("batch_size", 1))

    def _estimate(self, model: str, body: Any) -> tuple[int, Any, dict[str, str]]:
        if model not in MODELS:
            return 404, {"detail": f"Unknown model {model}"}, {}
        if wrong := self._wrong(body):
            return 422, {"detail": wrong}, {}
        amount = self._credits(body)
        return 200, {"credits": f"{amount:.3f}", "usd": f"{amount * 0.0625:.3f}"}, {}

    def _urls(self, job_id: str) -> dict[str, str]:
        base = f"{self.url}/requests/{job_id}"
        return {"status_url": f"{base}/status", "cancel_url": f"{base}/cancel"}

    def _queued(self, job_id: str) -> dict[str, Any]:
        return {"status": "queued", "request_id": job_id, **self._urls(job_id)}

    def _state(self, job: Job) -> str:
        if job.canceled:
            return "canceled"
        age = time.monotonic() - job.born
        if age < self.times[0]:
            return "queued"
        return "in_progress" if age < sum(self.times) else job.outcome

    def _request(self, method: str, parts: list[str]) -> tuple[int, Any, dict[str, str]]:
        job = self.jobs.get(parts[1]) if len(parts) > 1 else None
        if job is None:
            return 404, {"detail": "Request not found"}, {}
        state = self._state(job)
        if method == "POST" and parts[2:] == ["cancel"]:
            if state != "queued":
                return 400, {"detail": "Only queued requests can be cancelled"}, {}
            job.canceled = True
            self.ledger[job.id] = 0
            return 202, {}, {}
        if method == "DELETE":
            return (200, {}, {}) if state in ENDED else (400, {"detail": "not finished"}, {})
        found: dict[str, Any] = {"status": state, "request_id": job.id, **self._urls(job.id)}
        if state == "completed":
            count = int(job.body.get("batch_size", 1))
            links = [f"{self.url}/made/{job.id}/{i}.jpg?sig=s1gned" for i in range(count)]
            found["images"] = [{"url": link} for link in links]
            ends = time.time() + self.file_life - (time.monotonic() - job.born)
            found["expires_at"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(ends))
        if state == "failed":
            found["error"] = "the worker gave up"
        return 200, found, {}

    # ---- files

    def _file(self, parts: list[str]) -> tuple[int, Any, dict[str, str]]:
        job = self.jobs[parts[1]]
        if time.monotonic() - job.born > self.file_life:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>", {"Content-Type": "text/xml"}
        how = self.files.pop(0) if self.files else "whole"
        data = self._jpeg(job, parts[2])
        kind = {"Content-Type": "image/jpeg"}
        if how == "garbage":
            return 200, b"<html>be right back</html>", kind
        if how == "half":
            return 200, data[: len(data) // 2], kind
        if how == "cut":
            return 200, data, {**kind, "x-cut": str(len(data) // 2)}
        self.fetched.append(f"{job.id}/{parts[2]}")
        return 200, data, {**kind, **({"x-slow": "yes"} if how == "slow" else {})}

    def _jpeg(self, job: Job, name: str) -> bytes:
        """A picture of the right size; a comment makes every one another file."""
        large = job.body.get("resolution", "720p") == "1080p"
        size = self.picture or ASPECTS[job.body.get("aspect_ratio", "1:1")][large]
        if size not in self._jpegs:
            out = io.BytesIO()
            Image.radial_gradient("L").resize(size).convert("RGB").save(out, "JPEG", quality=60)
            self._jpegs[size] = out.getvalue()
        note = f"{job.id}/{name}".encode()
        comment = b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note
        whole = self._jpegs[size]
        return whole[:2] + comment + whole[2:]

    def _put(
        self, handler: BaseHTTPRequestHandler, name: str, body: bytes
    ) -> tuple[int, Any, dict[str, str]]:
        tagged = handler.headers.get("x-amz-tagging") == "user=1"
        if not tagged or handler.headers.get("Authorization"):
            return 403, b"<Error><Code>AccessDenied</Code></Error>", {"Content-Type": "text/xml"}
        self.uploads[name] = body
        return 200, b"", {}

    # ---- Soul IDs

    def _fits(self, reference_id: str, version: str) -> bool:
        found = self.references.get(reference_id)
        return found is not None and found.version == version and not found.fails

    def _shown(self, found: Reference) -> dict[str, Any]:
        age = time.monotonic() - found.born
        early = ("not_ready", "queued", "in_progress")
        step = sum(self.times) or 0.01
        number = int(age / step)
        state = early[number] if number < len(early) else "failed" if found.fails else "completed"
        return {
            **{"id": found.id, "name": found.name, "model_version": found.version},
            **{"status": state, "fail_reason": found.fails if state == "failed" else None},
        }

    def _reference(
        self, handler: BaseHTTPRequestHandler, method: str, rest: list[str], body: Any
    ) -> tuple[int, Any, dict[str, str]]:
        if method == "POST" and not rest:
            images = [i["image_url"] for i in body.get("input_images", [])]
            known = all(i.rsplit("/", 1)[-1] in self.uploads for i in images)
            if not known or not 1 <= len(images) <= 100 or not 0 < len(body["name"]) <= 100:
                return 422, {"detail": "input_images or name invalid"}, {}
            version = body.get("model_version", "v1")
            made = Reference(
                *(str(uuid.uuid4()), body["name"], version, time.monotonic(), images),
                self.reference_fails,
            )
            self.references[made.id] = made
            return 200, self._shown(made), {}
        if rest == ["list"]:
            query = parse_qs(urlsplit(handler.path).query)
            page, size = int(query["page"][0]), int(query["page_size"][0])
            found = [self._shown(r) for r in self.references.values()]
            part = found[(page - 1) * size : page * size]
            return 200, {"items": part, "total": len(found), "page": page}, {}
        if rest and rest[0] in self.references:
            if method == "DELETE":
                self.references.pop(rest[0])
                return 200, {}, {}
            return 200, self._shown(self.references[rest[0]]), {}
        return 404, {"detail": "No such reference"}, {}
