"""One graph from order to bytes: sent once, found again, waited for, fetched at once, checked.

In: a server, a graph, an id chosen beforehand. Out: the pictures' bytes. The id and its successors
are computed, not drawn, so that a killed caller finds its job under whichever of them it was sent.
"""

from __future__ import annotations

import io
import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from limner.comfy.graphs import Graph
from limner.comfy.server import ComfyError, File, NotYetError, Server, Sight
from limner.errors import WorkFailedError

_SPACE = uuid.UUID("8f2d1f5e-6c0b-4f57-9a55-8c1f2f7b9d10")
_PAUSE_GROWTH = 1.5

GONE = (None, 408, 429, 502, 503, 504)
"""Statuses of a server that is away for a while, itself or behind its proxy (None: no answer)."""

T = TypeVar("T")


@dataclass(frozen=True)
class Drawn:
    """One picture of a job. graph_checked: None when the file does not carry its graph."""

    data: bytes
    prompt_id: str
    filename: str
    graph_checked: bool | None


def new_id() -> str:
    """A job's id: a canonical lowercase UUID, which later versions insist on."""
    return str(uuid.uuid4())


def successor(prompt_id: str, number: int) -> str:
    """The id under which a lost job is sent again for the `number`-th time; 0: its own."""
    return prompt_id if not number else str(uuid.uuid5(_SPACE, f"{prompt_id}/{number}"))


def draw(
    server: Server, graph: Graph, prompt_id: str, output: str, *, known: bool = False
) -> list[Drawn]:
    """The pictures of the node `output`. known: it may have been sent before, so look first.

    A job that a restart lost is sent again under its next id. Raises NotYetError when it may still
    come, WorkFailedError when the server refuses or fails it.
    """
    number, theirs = _where(server, prompt_id) if known else (0, None)
    last = int(server.limits["resends"])
    while True:
        own = successor(prompt_id, number)
        sent = _with_prefix(graph, output, own)
        if theirs is None:
            theirs = _send(server, sent, own)
        sight = _wait(server, theirs)
        if sight is not None:
            files = _pictures(sight, output)
            found = [_fetch(server, file, theirs, sent) for file in files]
            if None not in found:
                return [one for one in found if one is not None]
        if number == last:
            raise NotYetError(
                f"ComfyUI lost this picture {number + 1} times: it stands neither in its queue nor "
                "in its history",
                where=f"job {theirs}",
            )
        number, theirs = number + 1, None


def embedded_graph(data: bytes) -> dict[str, Any] | None:
    """The graph that ComfyUI writes into its PNG files (text `prompt`); None when there is none."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as picture:
            text = picture.info.get("prompt")
        found = json.loads(text) if isinstance(text, str) else None
    except (OSError, ValueError, SyntaxError):
        return None
    return found if isinstance(found, dict) else None


def differences(asked: Mapping[str, Any], drawn: Mapping[str, Any]) -> list[str]:
    """Inputs whose plain values differ between two graphs, as `node.input`; links are not looked
    at, nor what the server adds."""
    found = []
    for key, node in asked.items():
        theirs = drawn.get(key)
        if not isinstance(theirs, Mapping) or theirs.get("class_type") != node["class_type"]:
            found.append(key)
            continue
        values = theirs.get("inputs") or {}
        found += [
            f"{key}.{name}"
            for name, value in node["inputs"].items()
            if isinstance(value, str | int | float) and not _same(value, values.get(name))
        ]
    return found


def _same(asked: str | int | float, drawn: Any) -> bool:
    """Whether two values mean the same: the server turns "7" into 7 where a node wants a number."""
    try:
        return bool(asked == drawn or float(asked) == float(drawn))
    except (TypeError, ValueError):
        return str(asked) == str(drawn)


def _with_prefix(graph: Graph, output: str, own: str) -> Graph:
    """The graph with a file name of its own: a job that equals an earlier one in everything writes
    no file, and its history names the earlier one's, which may be gone."""
    saver = graph[output]
    if "filename_prefix" not in saver["inputs"]:
        return graph
    folder = str(saver["inputs"]["filename_prefix"]).replace("\\", "/").rpartition("/")[0]
    name = f"{folder or 'limner'}/{own}"
    return {**graph, output: {**saver, "inputs": {**saver["inputs"], "filename_prefix": name}}}


def _where(server: Server, prompt_id: str) -> tuple[int, str | None]:
    """Which of the ids the server has: (number, the server's id), or (0, None) when none."""
    ids = [successor(prompt_id, n) for n in range(int(server.limits["resends"]) + 1)]
    for look in range(2):  # a job may stand between queue and history at the first look
        if look and server.link.wait(server.limits["lost_s"]):
            raise _stopped()
        for number, own in reversed(list(enumerate(ids))):
            if patiently(server, partial(server.look, own)).state != "absent":
                return number, own
    found = patiently(server, partial(server.find, ids))
    return next(((ids.index(own), theirs) for own, theirs in found.items()), (0, None))


def _send(server: Server, graph: Graph, own: str) -> str:
    """Queue it; when no answer came, look whether it arrived before it is sent once more."""
    end = time.monotonic() + server.limits["restart_s"]
    while True:
        try:
            return server.send(graph, own)
        except ComfyError as error:
            _unless_gone(error, end)
        if server.link.wait(server.limits["poll_first_s"]):
            raise _stopped()
        found = patiently(server, partial(server.find, [own]))
        if own in found:
            return found[own]


def patiently(server: Server, call: Callable[[], T]) -> T:
    """`call`, again and again while the server is gone, up to limit restart_s; then NotYetError."""
    end = time.monotonic() + server.limits["restart_s"]
    while True:
        try:
            return call()
        except ComfyError as error:
            _unless_gone(error, end)
        if server.link.wait(server.limits["poll_first_s"]):
            raise _stopped()


def _unless_gone(error: ComfyError, end: float) -> None:
    """Raise what will not pass by itself, and NotYetError when a gone server stays gone."""
    if error.status not in GONE or not error.again:
        raise error
    if time.monotonic() > end:
        raise NotYetError(error.what, where=error.where, down=True) from None


def _wait(server: Server, prompt_id: str) -> Sight | None:
    """Look until the job has ended; None when it is lost: absent twice in a row."""
    limits = server.limits
    pause, absent, last = limits["poll_first_s"], 0, ""
    end = time.monotonic() + limits["job_s"]
    while True:
        sight = patiently(server, partial(server.look, prompt_id))
        if sight.ended:
            return sight
        absent = absent + 1 if sight.state == "absent" else 0
        if absent == 2:
            return None
        if sight.state != last:  # a sign of life
            last, end = sight.state, time.monotonic() + limits["job_s"]
        if time.monotonic() > end:
            raise NotYetError(
                f"The job is still {sight.state} at ComfyUI", where=f"job {prompt_id}"
            )
        if server.link.wait(limits["lost_s"] if absent else pause):
            raise _stopped()
        pause = min(pause * _PAUSE_GROWTH, limits["poll_longest_s"])


def _pictures(sight: Sight, output: str) -> tuple[File, ...]:
    """The output node's files. Raises WorkFailedError: failed, stopped, or done without any."""
    if sight.state == "interrupted":
        raise WorkFailedError(
            "The job was stopped at ComfyUI", fix="Run the same command again to draw it anew."
        )
    if sight.state == "failed":
        memory = "memory" in sight.said.lower()
        raise WorkFailedError(
            f"ComfyUI failed to draw this picture: {sight.said or 'no reason given'}",
            fix="Free memory on that machine (smaller size, fp8 files, --lowvram), then run this "
            "again."
            if memory
            else "Mend the cause on the server (its log says more), then run this again.",
        )
    files = sight.files.get(output, ())
    if not files:
        raise WorkFailedError(
            "ComfyUI says success and names no picture",
            where=f"node {output}",
            fix="Does that node save a picture? Mark the right one with the title limner:output.",
        )
    return files


def _fetch(server: Server, file: File, prompt_id: str, sent: Graph) -> Drawn | None:
    """The picture; None when its file is not there any more."""
    try:
        data = patiently(server, partial(server.fetch, file))
    except ComfyError as error:
        if error.status == 404:
            return None
        raise
    graph = embedded_graph(data)
    wrong = differences(sent, graph) if graph is not None else []
    if wrong:
        raise WorkFailedError(
            f"ComfyUI's file shows another picture than was asked for ({', '.join(wrong[:4])})",
            where=file.filename,
            fix="Does something change jobs or files on that server? Run this again.",
        )
    return Drawn(data, prompt_id, file.filename, None if graph is None else True)


def _stopped() -> NotYetError:
    return NotYetError("The run was stopped")
