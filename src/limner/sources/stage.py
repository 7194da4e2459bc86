"""The stage: a take for every open shot, journaled before it is made.

In: a `Project` with shots. Out: takes in the store, PNG files in `takes/`. A killed run resumes:
its pending takes are made again into the same rows, with the same seeds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, fields
from typing import Any

from limner import lexicon
from limner.errors import LimnerError, NotReadyError, WorkFailedError
from limner.events import Event, Events, Notice, Result, Ticker
from limner.project import Project
from limner.project.files import sha256_bytes, write_bytes
from limner.project.records import Shot, Take
from limner.sources.atelier import AtelierSource, identity_of
from limner.sources.source import Picture, Request, Source

MOST_FAILURES = 3
"""Failures in a row after which a run stops (starting value): the source itself is broken."""


def open_source(project: Project, *, workers: int = 1) -> Source:
    """The source that character.yaml names. Raises InputError for traits it cannot draw."""
    return AtelierSource(identity_of(project.character), processes=workers if workers > 1 else 0)


def generate(
    project: Project,
    *,
    source: Source | None = None,
    limit: int | None = None,
    workers: int = 2,
) -> Events:
    """Make a take for each open shot: first attempts, retries after a rejection, unfinished ones.

    limit: most pictures in this call. workers: pictures made at the same time. Raises NotReadyError
    without a plan, WorkFailedError when the source fails again and again or the disk is full.
    Result: {made, failed, resumed, open, takes}.
    """
    shots = project.store.shots()
    if not shots:
        raise NotReadyError(
            "There is no plan of shots yet", where=str(project.root), fix="Run `limner shots plan`."
        )
    with project.exclusive("sources"):
        _sweep(project)
        name = source.name if source else project.character.source.name
        todo = _todo(project, shots, name)[: limit if limit is not None else len(shots)]
        used = source or open_source(project, workers=min(workers, max(len(todo), 1)))
        try:
            run = _Run(project, used, project.character.source.size)
            yield from run.go(todo, max(1, workers))
        finally:
            if source is None:
                used.close()
        project.store.log("sources", "generated", made=len(run.made), failed=run.failed)
        value = {"made": len(run.made), "failed": run.failed, "resumed": run.resumed}
        left = len(_todo(project, project.store.shots(), name))
        yield Result({**value, "open": left, "takes": run.made})


def _sweep(project: Project) -> None:
    """Remove half-written files of a killed run; nobody else works here now."""
    for part in project.folder("takes").glob(".*.part"):
        part.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Job:
    """A shot to photograph, with the pending take of a killed run if there is one."""

    shot: Shot
    pending: Take | None


def _todo(project: Project, shots: list[Shot], source: str) -> list[_Job]:
    """Shots without a take that stands (done and not rejected), in order."""
    standing = project.store.standing_decisions()
    takes: dict[str, list[Take]] = {}
    for take in project.store.takes():
        takes.setdefault(take.shot_id, []).append(take)
    jobs = []
    for shot in shots:
        own = takes.get(shot.id, [])
        pending = next((t for t in own if t.state == "pending" and t.source == source), None)
        stands = any(
            t.state == "done" and (t.id not in standing or standing[t.id].verdict != "reject")
            for t in own
        )
        if shot.state != "kept" and not stands:
            jobs.append(_Job(shot, pending))
    return jobs


def take_seed(shot_seed: int, attempt: int) -> int:
    """The seed of an attempt: the shot's own first, then fresh ones (31 bits)."""
    if attempt == 1:
        return shot_seed
    digest = hashlib.blake2b(f"{shot_seed}|{attempt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") >> 1


class _Run:
    """One run: at most `workers` takes are journaled and in the making at any time."""

    def __init__(self, project: Project, source: Source, size: int) -> None:
        self.project = project
        self.source = source
        self.size = size
        self.able = source.abilities()
        self.made: list[int] = []
        self.failed = 0
        self.resumed = 0
        self._in_a_row = 0
        self._told: set[tuple[str, str]] = set()

    def go(self, todo: list[_Job], workers: int) -> Iterator[Event]:
        ticker = Ticker("drawing" if self.source.name == "atelier" else "generating", len(todo))
        waiting = iter(todo)
        running: dict[Future[Picture], tuple[Take, dict[str, Any]]] = {}
        with ThreadPoolExecutor(workers) as pool:
            while True:
                while len(running) < workers and (job := next(waiting, None)) is not None:
                    attributes, swapped = substitute(job.shot.attributes, self.able)
                    yield from self._tell(swapped)
                    take, request = self._journal(job, attributes)
                    running[pool.submit(self.source.make, request)] = (take, swapped)
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    take, swapped = running.pop(future)
                    notice = self._finish(take, future, swapped)
                    if notice:
                        yield notice
                    yield ticker.tick(note=take.shot_id)

    def _tell(self, swapped: Mapping[str, Mapping[str, str]]) -> Iterator[Event]:
        for axis, change in swapped.items():
            if (axis, change["asked"]) not in self._told:
                self._told.add((axis, change["asked"]))
                yield Notice(
                    f"{self.source.name} has no {axis} {change['asked']!r}; "
                    f"{change['made']!r} is the nearest and is made instead.",
                    "warning",
                )

    def _journal(self, job: _Job, attributes: dict[str, str]) -> tuple[Take, Request]:
        """The take is written before the picture is made; a killed run's row is used again."""
        shot = job.shot
        if job.pending is not None:
            self.resumed += 1
            old = job.pending.request
            size = int(old.get("size", self.size))
            request = Request(shot.id, shot.prompt, attributes, job.pending.seed, size)
            return job.pending, request
        attempt = 1 + sum(
            t.source == self.source.name for t in self.project.store.takes(shot_id=shot.id)
        )
        seed = take_seed(shot.seed, attempt)
        request = Request(shot.id, shot.prompt, attributes, seed, self.size)
        take = self.project.store.journal_take(shot.id, self.source.name, seed, request.as_dict())
        return take, request

    def _finish(
        self, take: Take, future: Future[Picture], swapped: Mapping[str, Any]
    ) -> Notice | None:
        try:
            picture = future.result()
        except LimnerError as error:
            self.failed += 1
            self._in_a_row += 1
            self.project.store.update_take(take.id, state="failed", error=str(error))
            if self._in_a_row >= MOST_FAILURES:
                raise WorkFailedError(
                    f"The source {self.source.name} failed {MOST_FAILURES} times in a row: "
                    f"{error.what}",
                    where=take.shot_id,
                    fix="Mend the cause and run the same command again; finished takes stay.",
                ) from None
            return Notice(f"{take.shot_id}: {error}", "error")
        self._in_a_row = 0
        path = self.project.folder("takes") / f"{take.shot_id}_a{take.attempt}.png"
        write_bytes(path, picture.png)
        self.project.store.update_take(
            take.id,
            state="done",
            path=self.project.relative(path),
            sha256=sha256_bytes(picture.png),
            width=picture.width,
            height=picture.height,
            labels={**picture.labels, "substituted": dict(swapped)},
        )
        self.made.append(take.id)
        return None


def substitute(
    attributes: Mapping[str, str], able: Mapping[str, tuple[str, ...]]
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Attributes a source can make, and what was swapped: axis -> {asked, made}."""
    found = dict(attributes)
    swapped = {}
    for axis, options in able.items():
        asked = attributes.get(axis)
        if asked is not None and asked not in options:
            found[axis] = nearest(axis, asked, options)
            swapped[axis] = {"asked": asked, "made": found[axis]}
    return found, swapped


def nearest(axis: str, asked: str, options: tuple[str, ...]) -> str:
    """The option most like `asked`: by degrees and sizes where there are any, else by shared facts.

    Raises LimnerError when there is no option at all.
    """
    values = lexicon.axis(axis)
    if not options:
        raise WorkFailedError(f"The source can make no {axis} at all", where=axis)
    wanted = values[asked]

    def distance(option: str) -> float:
        return _difference(wanted, values[option])

    return min(options, key=distance)


def _difference(first: Any, second: Any) -> float:
    """Sum over fields: relative gap of number ranges, share of unlike entries, unequal facts."""
    total = 0.0
    for entry in fields(first):
        a, b = getattr(first, entry.name), getattr(second, entry.name)
        if entry.name in ("id", "phrase", "detail", "title", "props"):
            continue
        if isinstance(a, tuple) and a and isinstance(a[0], float | int):
            total += sum(abs(x - y) for x, y in zip(a, b, strict=True)) / (
                sum(map(abs, (*a, *b))) or 1.0
            )
        elif isinstance(a, tuple):
            total += 1 - len(set(a) & set(b)) / max(len(set(a) | set(b)), 1)
        else:
            total += float(a != b)
    return total
