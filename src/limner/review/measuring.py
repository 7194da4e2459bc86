"""Reading every picture once, on both cores, cached by its SHA-256 and the tool's version.

In: done takes, or any files. Out: a `Seen` a picture: its reading, or why it cannot be judged.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

from limner.errors import InputError, WorkFailedError
from limner.project import Project
from limner.project.files import sha256_file, write_text
from limner.project.records import Take
from limner.vision.brought import Brought, open_brought
from limner.vision.embedders import network_version
from limner.vision.faces import Kind
from limner.vision.pictures import open_picture
from limner.vision.reading import VERSION, Reading, read_picture

CACHE = "readings"
AHEAD = 4
"""Pictures a worker has waiting: memory stays flat however many there are."""


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
class Job:
    """One file to read. brought: cards of the user's embedders. text: look for writing."""

    path: Path
    kind: Kind
    smallest_face: float
    again: bool = False
    brought: tuple[Path, ...] = ()
    text: bool = False


@dataclass(frozen=True)
class Answer:
    """What came of a job. fault: why there is no reading. digest: SHA-256 of the file."""

    reading: Reading | None
    fault: str | None = None
    digest: str | None = None
    cached: bool = False


def read_takes(
    project: Project,
    takes: list[Take],
    *,
    kinds: dict[int, Kind],
    smallest: dict[int, float],
    again: bool = False,
    workers: int = 2,
    brought: tuple[Path, ...] = (),
    text: bool = False,
) -> Iterator[Seen]:
    """Read takes in their order, measuring only what is not cached for this file and version."""
    folder = project.root / ".limner" / CACHE
    jobs: list[Job | None] = []
    for take in takes:
        path = project.path(take.path) if take.path else None
        job = None
        if path is not None:
            job = Job(path, kinds[take.id], smallest[take.id], again, brought, text)
        jobs.append(job)
    for take, answer in zip(takes, read_files(jobs, folder, workers), strict=True):
        if answer is None:
            yield Seen(take, None, "no file was recorded for it")
            continue
        changed = bool(take.sha256 and answer.digest and answer.digest != take.sha256)
        yield Seen(take, answer.reading, answer.fault, changed, answer.cached)


def read_files(
    jobs: Sequence[Job | None], cache: Path, workers: int = 2
) -> Iterator[Answer | None]:
    """Read files in their order; None stays None. At most a few pictures are in memory at once."""
    if workers < 2 or len(jobs) < 4 or not _can_fork():
        yield from (None if job is None else measure(job, cache) for job in jobs)
        return
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        waiting: list[Future[Answer] | None] = []
        sent = 0
        try:
            for _ in jobs:
                while sent < len(jobs) and len(waiting) < AHEAD * workers:
                    job = jobs[sent]
                    waiting.append(None if job is None else pool.submit(measure, job, cache))
                    sent += 1
                first = waiting.pop(0)
                yield None if first is None else first.result()
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


def measure(job: Job, cache: Path) -> Answer:
    """One file: its reading from the cache, or measured now and cached."""
    try:
        digest = sha256_file(job.path)
    except OSError as error:
        return Answer(None, f"the file cannot be read ({error.strerror})")
    own: list[Brought] = [open_brought(card) for card in job.brought]
    kind = "-".join(filter(None, (job.kind, network_version(job.kind))))
    marks = [kind, f"{job.smallest_face:g}", *(o.tool.replace(" ", "-") for o in own)]
    name = f"{digest}.{'.'.join([*marks, 'text'] if job.text else marks)}.json"
    found = None if job.again else _cached(cache / name)
    if found is not None:
        return Answer(found, None, digest, True)
    try:
        image = open_picture(job.path)
    except InputError as error:
        return Answer(None, error.what, digest)
    reading = read_picture(
        image, kind=job.kind, smallest_face=job.smallest_face, brought=own, text=job.text
    )  # fmt: skip
    write_text(cache / name, json.dumps(reading.as_dict(), separators=(",", ":")))
    return Answer(reading, None, digest)


def _cached(path: Path) -> Reading | None:
    """A reading of this version with nothing missing for want of an extra, else None."""
    try:
        reading = Reading.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    wanting = any(reason.startswith("install ") for reason in reading.missing.values())
    return None if reading.version != VERSION or wanting else reading
