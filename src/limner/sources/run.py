"""One run of a source: every order journaled before it is sent, every picture written whole.

In: a project, a source, jobs. Out: events; takes in the store and files in `takes/`. Shared by all
sources: the source knows its service, the run knows the journal, the threads and the failures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from limner.errors import LimnerError, WorkFailedError
from limner.events import Event, Notice, Ticker
from limner.project import Project
from limner.project.files import sha256_bytes, write_bytes
from limner.project.records import Take
from limner.sources.source import LaterError, Order, Picture, Request, Source

MOST_FAILURES = 3
"""Failures in a row after which a run stops (starting value): the source itself is broken."""

_BUSY = {"atelier": "drawing"}


@dataclass
class Job:
    """A picture to make. pending: the take of a killed run, whose order stands as journaled.

    swapped: axis -> {asked, made}, what the source cannot make.
    """

    request: Request
    order: Order
    pending: Take | None = None
    swapped: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def known(self) -> bool:
        """Whether the service has it already, so that it costs nothing more."""
        return bool(self.order.get("request_id"))


@dataclass
class _Open:
    """A journaled take in the making."""

    take: Take
    job: Job
    order: Order


class Run:
    """One run: at most `workers` takes are journaled and in the making at any time."""

    def __init__(self, project: Project, source: Source) -> None:
        self.project = project
        self.source = source
        self.made: list[int] = []
        self.failed = 0
        self.resumed = 0
        self.later = 0
        self._in_a_row = 0
        self._halt: LimnerError | None = None
        self._said: SimpleQueue[tuple[int, str, Any]] = SimpleQueue()

    def go(self, jobs: list[Job], workers: int) -> Iterator[Event]:
        """Make all jobs. Raises WorkFailedError when the source is broken, LaterError when it
        must be asked later; what is on its way is waited for first."""
        ticker = Ticker(_BUSY.get(self.source.name, "generating"), len(jobs))
        waiting = iter(jobs)
        running: dict[int, _Open] = {}
        try:
            with ThreadPoolExecutor(workers) as pool:
                try:
                    while True:
                        while len(running) < workers and self._halt is None:
                            job = next(waiting, None)
                            if job is None:
                                break
                            one = self._journal(job)
                            running[one.take.id] = one
                            pool.submit(self._work, one)
                        if not running:
                            break
                        take_id, kind, value = self._said.get()
                        if kind == "note":
                            self._note(running[take_id], value)
                            continue
                        one = running.pop(take_id)
                        yield from self._finish(one, kind, value)
                        yield ticker.tick(note=one.take.shot_id)
                except BaseException:
                    self.source.stop()  # the pool waits for its threads: do not let them poll on
                    raise
        except BaseException:
            self._keep_what_came(running)
            raise
        if self._halt is not None:
            raise self._halt

    def _keep_what_came(self, running: dict[int, _Open]) -> None:
        """After an interruption: what threads said meanwhile, orders just sent and pictures paid.

        Errors are left out: their takes stay pending. A full disk ends it; the rest is pending too.
        """
        try:
            while not self._said.empty():
                take_id, kind, value = self._said.get()
                if take_id in running and kind == "note":
                    self._note(running[take_id], value)
                elif take_id in running and kind == "made":
                    self._write(running.pop(take_id), value)
        except (LimnerError, OSError):
            return

    def _journal(self, job: Job) -> _Open:
        """The take with its order is on disk before the source hears of it."""
        if job.pending is not None:
            self.resumed += 1
            return _Open(job.pending, job, dict(job.order))
        request = job.request.as_dict()
        if job.order:
            request["order"] = job.order
        seed = int(job.order.get("seed", job.request.seed))
        store = self.project.store
        take = store.journal_take(job.request.shot_id, self.source.name, seed, request)
        return _Open(take, job, dict(job.order))

    def _work(self, one: _Open) -> None:
        """In a worker thread: the store belongs to the main one, so all is said through a queue."""
        number = one.take.id

        def note(facts: Mapping[str, Any]) -> None:
            self._said.put((number, "note", dict(facts)))

        try:
            pictures = self.source.make(one.job.request, dict(one.order), note)
        except BaseException as error:  # raised again in the main thread
            self._said.put((number, "error", error))
        else:
            self._said.put((number, "made", pictures))

    def _note(self, one: _Open, facts: Mapping[str, Any]) -> None:
        one.order.update(facts)
        request = {**one.take.request, "order": one.order}
        self.project.store.update_take(one.take.id, request=request)

    def _finish(self, one: _Open, kind: str, value: Any) -> Iterator[Event]:
        if kind == "made":
            self._in_a_row = 0
            self._write(one, value)
            small = {str(p.labels["too_small"]) for p in value if "too_small" in p.labels}
            yield from (Notice(f"{one.take.shot_id}: {text}", "warning") for text in small)
        elif isinstance(value, LaterError):
            self.later += 1
            if value.stop and self._halt is None:
                self._halt = value
            yield Notice(f"{one.take.shot_id}: {value}", "warning")
        elif isinstance(value, LimnerError):
            yield self._fail(one, value)
        else:
            raise value

    def _fail(self, one: _Open, error: LimnerError) -> Notice:
        self.failed += 1
        self._in_a_row += 1
        self.project.store.update_take(one.take.id, state="failed", error=str(error))
        if self._in_a_row >= MOST_FAILURES and self._halt is None:
            self._halt = WorkFailedError(
                f"The source {self.source.name} failed {MOST_FAILURES} times in a row: "
                f"{error.what}",
                where=one.take.shot_id,
                fix=error.fix
                or "Mend the cause and run the same command again; finished takes stay.",
            )
        return Notice(f"{one.take.shot_id}: {error}", "error")

    def _write(self, one: _Open, pictures: list[Picture]) -> None:
        """Files first, then all rows of the order at once: a kill between finds it pending."""
        store = self.project.store
        with store.transaction():
            for number, picture in enumerate(pictures):
                take = one.take
                if number:  # more pictures of the same order: takes of their own
                    request = {**one.job.request.as_dict(), "order": {"of": one.take.id}}
                    take = store.journal_take(take.shot_id, take.source, take.seed, request)
                self._write_one(take, picture, one.job)
                self.made.append(take.id)

    def _write_one(self, take: Take, picture: Picture, job: Job) -> None:
        path = _free_path(self.project, take, picture.suffix, resumed=job.pending is not None)
        write_bytes(path, picture.data)
        self.project.store.update_take(
            take.id,
            state="done",
            path=self.project.relative(path),
            sha256=sha256_bytes(picture.data),
            width=picture.width,
            height=picture.height,
            labels={
                **picture.labels,
                "substituted": {axis: dict(change) for axis, change in job.swapped.items()},
            },
        )


def _free_path(project: Project, take: Take, suffix: str, *, resumed: bool) -> Path:
    """`takes/shot_003_a2.png`; with the source's name where another source has that file already.

    A file that no record knows (of a lost database, or a person's) is never written over: the name
    gets a number. resumed: what a killed run left under this take's name is its own.
    """
    folder = project.folder("takes")
    plain = f"{take.shot_id}_a{take.attempt}"
    others = project.store.takes(shot_id=take.shot_id)
    taken = {(t.path or "").rpartition("/")[2].partition(".")[0] for t in others if t.id != take.id}
    stem = plain if plain not in taken else f"{plain}_{take.source}"
    if resumed:
        return folder / f"{stem}{suffix}"
    names = chain([stem], (f"{stem}_{number}" for number in count(2)))
    return next(p for name in names if not (p := folder / f"{name}{suffix}").exists())
