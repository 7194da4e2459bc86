"""A ComfyUI server that answers, refuses and deceives as the real ones were seen to do.

`FakeComfy(folder)` runs in a thread: `models/loras`, `input` and `output` lie in the folder and
outlive `restart()`, queue, history and caches do not. dialect: 0.3.64, 0.3.75 or 0.38. The seven
silent traps are numbered where they are played. `drawn`: what the sampler really computed.
"""

from __future__ import annotations

import email
import email.policy
import hashlib
import io
import json
import re
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from fakes.comfy_nodes import LOADED_PREFIXES, NODES, OUTPUTS, Invalid, listing, validate

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass
class Fault:
    """One bad answer to a call whose `METHOD path` holds `on`. status 0: the line is cut.

    after: the call is carried out first, so that only the answer is lost.
    """

    on: str
    status: int = 0
    body: bytes = b"oops"
    after: bool = False


@dataclass
class Job:
    """One prompt in the queue."""

    id: str
    number: int
    graph: dict[str, Any]
    extra: dict[str, Any]
    outputs: list[str]
    client_id: str | None
    interrupted: bool = False

    def entry(self) -> list[Any]:
        return [self.number, self.id, self.graph, self.extra, self.outputs]


@dataclass
class FakeComfy:
    """work_s: seconds a picture takes; gap_s: between the end of a job and its history entry.

    fails: prompt texts that end in an execution error. separator: of listed file names.
    before, after: called with the number of every request, before it is carried out and before it
    is answered: moments at which a client may be killed.
    """

    folder: Path
    dialect: str = "0.3.75"
    work_s: float = 0.0
    gap_s: float = 0.0
    separator: str = "/"
    key: str = ""
    fails: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    lacks: tuple[str, ...] = ()
    ignores_ids: bool = False
    side: int = 0
    before: Callable[[int], None] = lambda n: None
    after: Callable[[int], None] = lambda n: None

    def __post_init__(self) -> None:
        self.requests: list[tuple[str, str, dict[str, str], Any]] = []
        self.drawn: list[str] = []
        self.sent: list[str] = []
        self.dropped: list[str] = []
        self.log: list[str] = []
        self._lock = threading.RLock()
        self._port = 0
        for part in ("models/loras", "input", "output"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)

    # ---- life

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen (again at the same port) with nothing in memory."""
        self.pending: list[Job] = []
        self.running: Job | None = None
        self.history: dict[str, Any] = {}
        self._cache: dict[str, list[dict[str, str]]] = {}
        self._samples: set[str] = set()
        self._loaded: dict[str, tuple[str, bool]] = {}
        self._alive = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                outer._serve(self)

            def do_POST(self) -> None:
                outer._serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                """A client that was killed is no news."""

        self._http = Server(("127.0.0.1", self._port), Handler)
        self._port = self._http.server_address[1]
        alive = self._alive
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        threading.Thread(target=self._work, args=(alive,), daemon=True).start()

    def stop(self) -> None:
        """Gone: connections are refused."""
        self._alive.set()
        self._http.shutdown()
        self._http.server_close()

    def restart(self, down_s: float = 0.0) -> None:
        """Trap 7: queue and history are lost, files stay."""
        self.stop()
        time.sleep(down_s)
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # ---- requests

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        parts = urlsplit(handler.path)
        path = parts.path
        query = {k: v[0] for k, v in parse_qs(parts.query).items()}
        with self._lock:
            self.requests.append((handler.command, path, dict(handler.headers), raw))
            number = len(self.requests)
            name = f"{handler.command} {path}"
            fault = next((f for f in self.faults if f.on in name), None)
            if fault is not None:
                self.faults.remove(fault)
        self.before(number)
        status, value = 500, b"oops"
        if fault is None or fault.after:
            with self._lock:
                status, value = self._do(handler, path, query, raw)
        if fault is not None:
            status, value = fault.status, fault.body
        self.after(number)
        if status == 0 or self._alive.is_set():
            handler.close_connection = True
            return
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        try:
            handler.send_response(status)
            kind = "application/octet-stream" if isinstance(value, bytes) else "application/json"
            handler.send_header("Content-Type", kind)
            handler.send_header("Content-Length", str(len(content)))
            handler.end_headers()
            handler.wfile.write(content)
        except OSError:
            pass

    def _do(
        self, handler: BaseHTTPRequestHandler, path: str, query: dict[str, str], raw: bytes
    ) -> tuple[int, Any]:
        if handler.headers.get("Origin"):
            return 403, b""
        if self.key and handler.headers.get("Authorization") != f"Bearer {self.key}":
            return 401, b"Unauthorized"
        verb, parts = handler.command, path.strip("/").split("/")
        if parts[:2] == ["api", "jobs"]:
            return self._job(parts[2:]) if self.dialect == "0.38" else (404, b"404: Not Found")
        if parts[0] == "api":
            parts = parts[1:]
        if parts == ["upload", "image"]:
            return self._upload(handler.headers.get("Content-Type", ""), raw)
        if verb == "POST":
            try:
                body = json.loads(raw)
            except ValueError:
                return 500, b"500 Internal Server Error\n\nServer got itself in trouble"
            return self._post(parts[0], body)
        return self._get(parts, query)

    def _get(self, parts: list[str], query: dict[str, str]) -> tuple[int, Any]:
        match parts:
            case ["system_stats"]:
                system = {"comfyui_version": self.dialect, "pytorch_version": "2.13.0+cpu"}
                return 200, {"system": system, "devices": [{"name": "cpu", "type": "cpu"}]}
            case ["object_info", name]:
                if name not in NODES or name in self.lacks:
                    return 200, {}
                return 200, {name: {"input": listing(name, self.files())}}
            case ["models", "loras"]:
                return 200, self.files()["lora_name"]
            case ["history"]:
                items = list(self.history.items())[-int(query.get("max_items", "10000")) :]
                return 200, dict(items)
            case ["history", name]:
                return 200, {name: self.history[name]} if name in self.history else {}
            case ["queue"]:
                running = [self.running.entry()] if self.running else []
                waiting = [job.entry() for job in self.pending]
                return 200, {"queue_running": running, "queue_pending": waiting}
            case ["view"]:
                return self._view(query)
            case ["internal", "logs", "raw"]:
                return 200, {"entries": [{"t": "", "m": line} for line in self.log]}
        return 404, b"404: Not Found"

    def _post(self, route: str, body: dict[str, Any]) -> tuple[int, Any]:
        match route:
            case "prompt":
                return self._prompt(body)
            case "queue":
                gone = [j for j in self.pending if j.id in body.get("delete", ())]
                self.pending = [j for j in self.pending if j not in gone]
                self.dropped += [j.id for j in gone]  # trap 7: never in the history
                return 200, b""
            case "interrupt":
                if self.running and body.get("prompt_id") in (None, self.running.id):
                    self.running.interrupted = True
                    self.dropped.append(self.running.id)
                return 200, b""
            case "free":
                if body.get("free_memory"):
                    self._cache.clear()
                    self._samples.clear()
                    self._loaded.clear()
                return 200, b""
        return 405, b"405: Method Not Allowed"

    def _prompt(self, body: dict[str, Any]) -> tuple[int, Any]:
        prompt_id = body.get("prompt_id") or str(uuid.uuid4())
        if self.ignores_ids:
            prompt_id = str(uuid.uuid4())
        if self.dialect == "0.38" and not _UUID.fullmatch(prompt_id):
            return _bad("invalid_prompt_id", "prompt_id must be a canonical UUID")
        graph = body.get("prompt")
        if not graph:
            return _bad("no_prompt", "No prompt provided")
        unknown = [
            k
            for k, n in graph.items()
            if n["class_type"] not in NODES or n["class_type"] in self.lacks
        ]
        if unknown:
            kind = "missing_node_type" if self.dialect == "0.38" else "invalid_prompt"
            name = graph[unknown[0]]["class_type"]
            return _bad(kind, f"Cannot execute because node {name} does not exist.")
        outputs = [k for k, n in graph.items() if n["class_type"] in OUTPUTS]
        if not outputs:
            return _bad("prompt_no_outputs", "Prompt has no outputs")
        errors: dict[str, Any] = {}
        good = []
        for key in outputs:
            try:
                validate(graph, key, self.files())
                good.append(key)
            except Invalid as problem:
                errors[problem.node] = problem.report(graph, key)
        if not good:
            return _bad("prompt_outputs_failed_validation", "Prompt outputs failed", errors)
        job = Job(
            prompt_id,
            len(self.sent),
            graph,
            dict(body.get("extra_data", {})),
            good,
            body.get("client_id"),
        )
        self.pending.append(job)
        self.sent.append(prompt_id)
        # trap 4: a bad branch beside a good one is accepted
        return 200, {"prompt_id": prompt_id, "number": job.number, "node_errors": errors}

    def _job(self, parts: list[str]) -> tuple[int, Any]:
        if not parts:
            return 200, {"jobs": [], "pagination": {"total": 0}}
        name = parts[0]
        if name in self.history:
            entry = self.history[name]
            good = entry["status"]["status_str"] == "success"
            state = "completed" if good else "failed"
            return 200, {"id": name, "status": state, "outputs": entry["outputs"]}
        if self.running and self.running.id == name:
            return 200, {"id": name, "status": "in_progress"}
        if any(job.id == name for job in self.pending):
            return 200, {"id": name, "status": "pending"}
        return 404, {"error": "Job not found"}

    def _upload(self, kind: str, raw: bytes) -> tuple[int, Any]:
        message = email.message_from_bytes(
            b"Content-Type: " + kind.encode() + b"\r\n\r\n" + raw, policy=email.policy.default
        )
        fields = {}
        for part in message.iter_parts():  # type: ignore[attr-defined]
            fields[part.get_param("name", header="content-disposition")] = part
        content = fields["image"].get_payload(decode=True)
        subfolder = fields["subfolder"].get_content().strip() if "subfolder" in fields else ""
        name = fields["image"].get_filename()
        folder = self.folder / "input" / subfolder
        folder.mkdir(parents=True, exist_ok=True)
        stem, _, suffix = name.rpartition(".")
        number = 0
        while (folder / name).exists() and (folder / name).read_bytes() != content:
            number += 1
            name = f"{stem} ({number}).{suffix}"
        (folder / name).write_bytes(content)
        return 200, {"name": name, "subfolder": subfolder, "type": "input"}

    def _view(self, query: dict[str, str]) -> tuple[int, Any]:
        name = query.get("filename", "")
        if ".." in name or name.startswith("/"):
            return 400, b""
        kind = "input" if query.get("type") == "input" else "output"
        path = self.folder / kind / query.get("subfolder", "") / name
        return (200, path.read_bytes()) if path.is_file() else (404, b"404: Not Found")

    def files(self) -> dict[str, list[str]]:
        """Choices of the inputs that name files, read from the folder at every call."""

        def under(part: str) -> list[str]:
            top = self.folder / part
            return sorted(str(p.relative_to(top)) for p in top.rglob("*") if p.is_file())

        loras = [n.replace("/", self.separator) for n in under("models/loras")]
        return {"lora_name": loras, "image": under("input")}

    # ---- drawing

    def _work(self, alive: threading.Event) -> None:
        while not alive.is_set():
            with self._lock:
                job = self.running = self.pending.pop(0) if self.pending else None
            if job is None:
                time.sleep(0.002)
                continue
            end = time.monotonic() + self.work_s
            while time.monotonic() < end and not job.interrupted and not alive.is_set():
                time.sleep(0.002)
            if alive.is_set():
                return
            with self._lock:
                outputs, status = self._execute(job)
                self.running = None
            if self.gap_s:  # trap 7: done, and not yet in the history
                time.sleep(self.gap_s)
            with self._lock:
                if not alive.is_set():
                    self.history[job.id] = {
                        "prompt": job.entry(),
                        "outputs": outputs,
                        "status": status,
                        "meta": {},
                    }

    def _execute(self, job: Job) -> tuple[dict[str, Any], dict[str, Any]]:
        if job.interrupted:
            last = ["execution_interrupted", {"prompt_id": job.id}]
            return {}, {"status_str": "error", "completed": False, "messages": [last]}
        words = json.dumps(job.graph)
        for text, said in self.fails.items():
            if text in words:
                last = [
                    "execution_error",
                    {
                        "node_id": "3",
                        "node_type": "KSampler",
                        "exception_type": "RuntimeError",
                        "exception_message": said + "\nmore",
                    },
                ]
                return {}, {"status_str": "error", "completed": False, "messages": [last]}
        outputs = {}
        for key in job.outputs:
            images = self._image(job, key)
            if images is not None:
                outputs[key] = {"images": images}
        return outputs, {"status_str": "success", "completed": True, "messages": []}

    def _image(self, job: Job, key: str) -> list[dict[str, str]] | None:
        saver = job.graph[key]
        own = json.dumps([key, saver, self._signature(job.graph, key)], sort_keys=True)
        if own in self._cache:
            if job.client_id is None and self.dialect == "0.3.75":
                return None  # trap 5: success without any output
            return self._cache[own]  # trap 6: the earlier file, no new one
        facts = self._signature(job.graph, key)
        if facts not in self._samples:
            self.drawn.append(facts)
            self._samples.add(facts)
        prefix = saver["inputs"].get("filename_prefix", "ComfyUI")
        folder, _, stem = prefix.rpartition("/")
        place = self.folder / "output" / folder
        place.mkdir(parents=True, exist_ok=True)
        number = 1 + len(list(place.glob(f"{stem}_*.png")))
        name = f"{stem}_{number:05d}_.png"
        (place / name).write_bytes(self._png(job.graph, facts))
        image = {"filename": name, "subfolder": folder, "type": "output"}
        self._cache[own] = [image]
        return [image]

    def _signature(self, graph: dict[str, Any], key: str) -> str:
        """Everything upstream of a saver, as the cache sees it: LoRAs and pictures by name."""
        seen: dict[str, Any] = {}

        def walk(name: str) -> None:
            if name in seen:
                return
            seen[name] = [graph[name]["class_type"], graph[name]["inputs"]]
            for value in graph[name]["inputs"].values():
                if isinstance(value, list):
                    walk(value[0])

        for value in graph[key]["inputs"].values():
            if isinstance(value, list):
                walk(value[0])
        return json.dumps(seen, sort_keys=True)

    def _png(self, graph: dict[str, Any], facts: str) -> bytes:
        nodes = json.loads(facts)
        loras = [i for c, i in nodes.values() if c == "LoraLoaderModelOnly"]
        plain = {k: v for k, v in nodes.items() if v[0] not in ("LoraLoaderModelOnly",)}
        text = re.sub(r'\["89\d*", 0\]', '["37", 0]', json.dumps(plain, sort_keys=True))
        for _, inputs in [v for v in nodes.values() if v[0] == "LoadImage"]:
            text += hashlib.sha256(
                (self.folder / "input" / inputs["image"]).read_bytes()
            ).hexdigest()
        pixels = _noise(text)
        for lora in loras:
            content, effective = self._lora(lora["lora_name"])
            if effective:
                pixels = pixels + lora["strength_model"] * 0.3 * (_noise(content) - 128)
        width, height = self._size(nodes)
        image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).resize((width, height))
        info = PngInfo()
        info.add_text("prompt", json.dumps(graph))
        out = io.BytesIO()
        image.save(out, "PNG", pnginfo=info)
        return out.getvalue()

    def _size(self, nodes: dict[str, Any]) -> tuple[int, int]:
        for kind, inputs in nodes.values():
            if kind == "EmptySD3LatentImage" and not self.side:
                return inputs["width"], inputs["height"]
        return (self.side or 64, self.side or 64)

    def _lora(self, name: str) -> tuple[str, bool]:
        """Traps 1 to 3: unknown keys are only logged, and the content is remembered by name."""
        if name not in self._loaded:
            data = (self.folder / "models/loras" / name.replace("\\", "/")).read_bytes()
            header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
            keys = [k for k in header if k != "__metadata__"]
            good = [k for k in keys if k.startswith(LOADED_PREFIXES)]
            self.log += [f"lora key not loaded: {k}" for k in keys if k not in good]
            self._loaded[name] = (hashlib.sha256(data).hexdigest(), bool(good))
        return self._loaded[name]


def _noise(text: str) -> np.ndarray[Any, Any]:
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).uniform(0, 255, (8, 8, 3))


def _bad(kind: str, message: str, nodes: dict[str, Any] | None = None) -> tuple[int, Any]:
    error = {"type": kind, "message": message, "details": "", "extra_info": {}}
    return 400, {"error": error, "node_errors": nodes or {}}
