"""Reading every take once, on both cores, cached by the picture's SHA-256 and the tool's version.

In: done takes. Out: a `Seen` a take: its reading, or why the file cannot be judged.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from limner.errors import InputError, WorkFailedError
from limner.project import Project
from limner.project.files import sha256_file, write_text
from limner.project.records import Take
from limner.vision.faces import Kind
from limner.vision.pictures import open_picture
from limner.vision.reading import VERSION, Reading, read_picture

CACHE = "readings"


@dataclass(frozen=True)
class Seen:
    """A take and what its file showed. fault: why it cannot be judged (then reading is None).

    changed: the file is not the one the source made. cached: nothing was measured now.
    """

    take: Take
    reading: Reading | None
    fault: str | None = None
    changed: bool = False
    cached: bool = False


@dataclass(frozen=True)
class _Job:
    path: Path
    cache: Path
    kind: Kind
    smallest_face: float
    again: bool


def read_takes(
    project: Project,
    takes: list[Take],
    *,
    kinds: dict[int, Kind],
    smallest: dict[int, float],
    again: bool = False,
    workers: int = 2,
) -> Iterator[Seen]:
    """Read takes in their order, measuring only what is not cached for this file and version."""
    folder = project.root / ".limner" / CACHE
    jobs: list[_Job | None] = []
    for take in takes:
        path = project.path(take.path) if take.path else None
        job = None
        if path is not None:
            job = _Job(path, folder, kinds[take.id], smallest[take.id], again)
        jobs.append(job)
    for take, answer in zip(takes, _answers(jobs, workers), strict=True):
        if answer is None:
            yield Seen(take, None, "no file was recorded for it")
            continue
        reading, fault, digest, cached = answer
        changed = bool(take.sha256 and digest and digest != take.sha256)
        yield Seen(take, reading, fault, changed, cached)


Answer = tuple[Reading | None, str | None, str | None, bool]


def _answers(jobs: list[_Job | None], workers: int) -> Iterator[Answer | None]:
    if workers < 2 or len(jobs) < 4 or not _can_fork():
        yield from (None if job is None else _measure(job) for job in jobs)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        futures = [None if job is None else pool.submit(_measure, job) for job in jobs]
        try:
            yield from (None if f is None else f.result() for f in futures)
        except BrokenProcessPool:
            raise WorkFailedError(
                "A measuring process was stopped from outside, most likely for want of memory",
                fix="Run it again: what was measured is kept.",
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _can_fork() -> bool:
    """Forking is safe only before libraries run threads; a web page's review does not fork.

    The thread that draws a progress bar is a daemon and holds nothing the children need.
    """
    threaded = {"torch", "onnxruntime", "cv2"} & set(sys.modules)
    main = threading.main_thread()
    others = [t for t in threading.enumerate() if t is not main]
    alone = threading.current_thread() is main and all(t.daemon for t in others)
    return hasattr(os, "fork") and alone and not threaded


def _measure(job: _Job) -> Answer:
    try:
        digest = sha256_file(job.path)
    except OSError as error:
        return None, f"the file cannot be read ({error.strerror})", None, False
    name = f"{digest}.{job.kind}.{job.smallest_face:g}.json"
    found = None if job.again else _cached(job.cache / name)
    if found is not None:
        return found, None, digest, True
    try:
        image = open_picture(job.path)
    except InputError as error:
        return None, error.what, digest, False
    reading = read_picture(image, kind=job.kind, smallest_face=job.smallest_face)
    write_text(job.cache / name, json.dumps(reading.as_dict(), separators=(",", ":")))
    return reading, None, digest, False


def _cached(path: Path) -> Reading | None:
    """A reading of this version with nothing missing for want of an extra, else None."""
    try:
        reading = Reading.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    wanting = any(reason.startswith("install ") for reason in reading.missing.values())
    return None if reading.version != VERSION or wanting else reading
