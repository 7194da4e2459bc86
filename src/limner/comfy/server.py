"""A running ComfyUI server: one method a route, for 0.3.x and for the later versions.

In: an address, graphs, ids, files. Out: plain facts (`Stats`, `Sight`, bytes) or a `ComfyError`
that says what to do. No answer is trusted to mean more than it does; see docs/sources.md.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from limner.comfy import rules
from limner.comfy.graphs import Graph
from limner.comfy.refusals import explain_refusal
from limner.errors import WorkFailedError
from limner.net import Answer, Link, NetError

State = Literal["absent", "pending", "running", "done", "failed", "interrupted"]

SUBFOLDER = "limner"
"""Where our pictures lie in the server's input folder."""

_SECRET = 6  # characters from which a header's value is kept out of every text
_LOOKED_THROUGH = "500"  # newest entries of the history that a job is looked for in

_JOB_STATES: dict[str, State] = {
    "pending": "pending",
    "in_progress": "running",
    "completed": "done",
    "failed": "failed",
    "cancelled": "interrupted",
}
_FIX_DOWN = "Is ComfyUI running, and is this its address (--url)? Then run the same command again."
_DENIED = {
    401: "The server wants a key: set COMFYUI_HEADERS, e.g. 'Authorization: Bearer ...'.",
    403: "The server refuses this address or key: name it as it was started (--url), or set "
    "COMFYUI_HEADERS.",
    413: "The file is larger than the server takes: start it with --max-upload-size.",
}


class ComfyError(NetError):
    """A request to ComfyUI that did not work."""


class NotYetError(WorkFailedError):
    """Not drawn yet and not given up: the same order can be looked for again.

    down: the server itself is gone, so nothing else would work now.
    """

    def __init__(self, what: str, *, where: str | None = None, down: bool = False) -> None:
        super().__init__(what, where=where, fix=_FIX_DOWN if down else "Run this again to go on.")
        self.down = down


@dataclass(frozen=True)
class Stats:
    """What the server says about itself; empty where it does not say."""

    comfyui: str = ""
    torch: str = ""
    device: str = ""

    def as_dict(self) -> dict[str, str]:
        """For records."""
        return {"comfyui": self.comfyui, "torch": self.torch, "device": self.device}


@dataclass(frozen=True)
class File:
    """A picture on the server."""

    filename: str
    subfolder: str = ""
    type: str = "output"


@dataclass(frozen=True)
class Sight:
    """What one look at a job found. files: node -> its pictures. said: why it failed."""

    state: State
    files: Mapping[str, tuple[File, ...]] = field(default_factory=dict)
    said: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to the job."""
        return self.state in ("done", "failed", "interrupted")


class Server:
    """One server. Used from several threads; `close` it. headers: keys of a proxy before it.

    limits: your own values for `rules.LIMITS`. `stopped` ends every wait.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        limits: Mapping[str, float] | None = None,
    ) -> None:
        self.limits = rules.values(limits)
        self.client_id = str(uuid.uuid4())
        self.stopped = threading.Event()
        self.link = Link(
            "ComfyUI",
            url,
            self.limits,
            headers=headers,
            secrets=tuple(v for v in (headers or {}).values() if len(v) >= _SECRET),
            error=ComfyError,
            fixes={"down": _FIX_DOWN, "slow": _FIX_DOWN},
            stopped=self.stopped,
        )
        self._has_jobs: bool | None = None

    def close(self) -> None:
        """End the connections; safe to call twice."""
        self.link.close()

    # ---- what the server is and has

    def stats(self) -> Stats:
        """Versions and device. Raises ComfyError when this is no ComfyUI."""
        found = self._json("GET", "system_stats")
        system = found.get("system") if isinstance(found, Mapping) else None
        if not isinstance(system, Mapping):
            raise ComfyError(
                "This server is not ComfyUI",
                where=self.link.shown(self.link.base_url),
                fix="Name ComfyUI's own address with --url; it is usually http://127.0.0.1:8188.",
            )
        devices = found.get("devices")
        names = [str(d.get("name", "")) for d in devices or () if isinstance(d, Mapping)]
        return Stats(
            str(system.get("comfyui_version", "")),
            str(system.get("pytorch_version", "")),
            ", ".join(names),
        )

    def node(self, class_type: str) -> dict[str, Any] | None:
        """What a node takes, None when the server has no such node (it answers 200 with {})."""
        found = self._json("GET", f"object_info/{class_type}")
        info = found.get(class_type) if isinstance(found, Mapping) else None
        return dict(info) if isinstance(info, Mapping) else None

    def choices(self, class_type: str, name: str) -> list[str] | None:
        """The values a node's input may have, None when it is no choice; new files are in it."""
        info = self.node(class_type) or {}
        for part in ("required", "optional"):
            entry = (info.get("input", {}).get(part) or {}).get(name)
            if isinstance(entry, list | tuple) and entry:
                if isinstance(entry[0], list):
                    return [str(v) for v in entry[0]]
                more = entry[1] if len(entry) > 1 and isinstance(entry[1], Mapping) else {}
                if entry[0] == "COMBO" and isinstance(more.get("options"), list):
                    return [str(v) for v in more["options"]]
        return None

    def loras(self) -> list[str]:
        """Names of the LoRA files the server sees, with its own path separator."""
        found = self._json("GET", "models/loras")
        return [str(name) for name in found] if isinstance(found, list) else []

    def log_lines(self) -> list[str]:
        """Its latest log lines; [] where the server does not show them (an internal route)."""
        try:
            found = self._json("GET", "internal/logs/raw")
            return [str(entry["m"]) for entry in found["entries"]]
        except (NetError, TypeError, KeyError):
            return []

    # ---- files

    def upload(self, name: str, data: bytes) -> str:
        """Put a picture into the input folder; returns the name LoadImage must be given.

        Without overwriting, the server keeps a file of other content and renames ours: only the
        name it returns is right.
        """
        found = self._json(
            "POST",
            "upload/image",
            files={"image": (name, data, "image/png")},
            form={"type": "input", "subfolder": SUBFOLDER},
        )
        if not isinstance(found, Mapping) or not found.get("name"):
            raise ComfyError("ComfyUI took a picture and gave it no name")
        folder = str(found.get("subfolder") or "").replace("\\", "/").strip("/")
        return f"{folder}/{found['name']}" if folder else str(found["name"])

    def fetch(self, file: File) -> bytes:
        """A picture's bytes. Raises ComfyError; status 404: it is not there any more."""
        query = {"filename": file.filename, "subfolder": file.subfolder, "type": file.type}
        return self.link.fetch("view", called=file.filename, query=query)

    # ---- jobs

    def send(self, graph: Graph, prompt_id: str, order: str = "") -> str:
        """Queue a graph, once; returns the id the server gave it (older ones choose their own).

        order: kept with the job, so that it is found under whatever id. Raises ComfyError (with
        `reached` False it is surely not queued), WorkFailedError when the graph is refused.
        """
        body = {
            "prompt": graph,
            "client_id": self.client_id,  # without it 0.3.75 gives cached jobs no outputs
            "prompt_id": prompt_id,
            "extra_data": {"limner_order": order or prompt_id},
        }
        answer = self.link.send("POST", "prompt", body=body)
        if not answer.good:
            raise self._refusal(answer, graph)
        found = self.link.read_json(answer, "prompt")
        given = str(found.get("prompt_id") or "") if isinstance(found, Mapping) else ""
        if not given:
            raise ComfyError("ComfyUI took the job and gave it no id")
        if found.get("node_errors"):  # a part of the graph would not be drawn, in silence
            self.drop(given)
            raise explain_refusal(found, graph, self.link.redact)
        return given

    def look(self, prompt_id: str) -> Sight:
        """Where a job stands. `absent`: unknown, deleted, lost by a restart, or just between two
        places: only two such looks in a row mean that it is gone."""
        if self._jobs_api():
            answer = self.link.send("GET", f"api/jobs/{prompt_id}")
            if answer.status == 404:
                return Sight("absent")
            job = self.link.read_json(answer, "api/jobs")
            state = _JOB_STATES.get(str(job.get("status")), "running")
            if state in ("absent", "pending", "running"):
                return Sight(state)
            found = self._history(prompt_id)
            # the job may be done a moment before its history is written
            return found or (_sight_of_job(job, state) if job.get("outputs") else Sight("running"))
        found = self._history(prompt_id)
        if found is not None:
            return found
        running, pending = self._queue()
        state = "running" if prompt_id in running else "pending"
        return Sight(state if prompt_id in (*running, *pending) else "absent")

    def find(self, orders: Collection[str]) -> dict[str, str]:
        """Order -> id of its job, for those of `orders` that stand in queue or history."""
        queue = self._json("GET", "queue")
        past = self._json("GET", "history", query={"max_items": _LOOKED_THROUGH})
        entries = [e for part in queue.values() for e in part]
        entries += [e.get("prompt") for e in past.values()]
        found = {_order_of(entry): str(entry[1]) for entry in entries if _order_of(entry)}
        return {order: found[order] for order in orders if order in found}

    def drop(self, prompt_id: str) -> None:
        """Take one job out of the queue, or stop it; no other job is touched."""
        self._json("POST", "queue", {"delete": [prompt_id]})
        self._json("POST", "interrupt", {"prompt_id": prompt_id})

    def free(self) -> None:
        """Let the server forget models and cached results: the remedy for a changed file under an
        old name. Done when the server is idle."""
        self._json("POST", "free", {"unload_models": True, "free_memory": True})

    # ---- parts

    def _jobs_api(self) -> bool:
        """Whether `/api/jobs` is there (later versions); asked once."""
        if self._has_jobs is None:
            answer = self.link.send("GET", "api/jobs", query={"limit": "1"})
            try:
                found = answer.json() if answer.good else None
            except ValueError:
                found = None
            self._has_jobs = isinstance(found, Mapping) and "jobs" in found
        return self._has_jobs

    def _history(self, prompt_id: str) -> Sight | None:
        found = self._json("GET", f"history/{prompt_id}")
        entry = found.get(prompt_id) if isinstance(found, Mapping) else None
        return _sight_of_history(entry) if isinstance(entry, Mapping) else None

    def _queue(self) -> tuple[list[str], list[str]]:
        found = self._json("GET", "queue")
        running, pending = (
            [str(entry[1]) for entry in found.get(f"queue_{name}", ())]
            for name in ("running", "pending")
        )
        return running, pending

    def _json(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        try:
            return self.link.json(method, path, body, **more)
        except ComfyError as error:
            error.fix = _DENIED.get(error.status or 0, error.fix)
            raise

    def _refusal(self, answer: Answer, graph: Graph) -> WorkFailedError:
        try:
            found = answer.json()
        except ValueError:  # a body that is no JSON of ours: 500 as plain text
            found = None
        if answer.status == 400 and isinstance(found, Mapping):
            return explain_refusal(found, graph, self.link.redact)
        return self.link.refusal(answer, "prompt", _DENIED.get(answer.status))


def _order_of(entry: Any) -> str | None:
    """`extra_data.limner_order` of an entry [number, id, graph, extra, outputs]."""
    extra = entry[3] if isinstance(entry, list | tuple) and len(entry) > 3 else None
    found = extra.get("limner_order") if isinstance(extra, Mapping) else None
    return None if found is None else str(found)


def _sight_of_history(entry: Mapping[str, Any]) -> Sight:
    status = entry.get("status") or {}
    files = _files(entry.get("outputs") or {})
    if status.get("status_str") != "error":
        return Sight("done", files)
    messages = [m for m in status.get("messages") or () if isinstance(m, list) and len(m) == 2]
    kind, data = messages[-1] if messages else ("execution_error", {})
    if kind == "execution_interrupted":
        return Sight("interrupted", files)
    return Sight("failed", files, _said(data))


def _sight_of_job(job: Mapping[str, Any], state: State) -> Sight:
    return Sight(state, _files(job.get("outputs") or {}), _said(job.get("execution_error") or {}))


def _said(data: Any) -> str:
    """`execution_error` in one line: where it happened, and the exception's first line."""
    if not isinstance(data, Mapping):
        return str(data)
    where = f"node {data['node_id']} ({data.get('node_type')}): " if data.get("node_id") else ""
    lines = str(data.get("exception_message") or "no reason given").strip().splitlines() or [""]
    return f"{where}{data.get('exception_type') or ''} {lines[0]}".replace("  ", " ").strip()


def _files(outputs: Any) -> dict[str, tuple[File, ...]]:
    found = {}
    for node, output in outputs.items() if isinstance(outputs, Mapping) else ():
        images = output.get("images") if isinstance(output, Mapping) else None
        found[str(node)] = tuple(
            File(str(i["filename"]), str(i.get("subfolder", "")), str(i.get("type", "output")))
            for i in images or ()
            if isinstance(i, Mapping) and i.get("filename")
        )
    return found
