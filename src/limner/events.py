"""Typed events of long work: a stage yields them, CLI and web draw them, tests collect them.

A long function is a generator: it yields `Progress` and `Notice`, and last one `Result(value)`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of `task` are finished; `eta` in seconds, None while unknown."""

    task: str
    done: int
    total: int
    eta: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Notice:
    """One sentence for the user; `level` is info, warning or error."""

    text: str
    level: Literal["info", "warning", "error"] = "info"


@dataclass(frozen=True)
class Result:
    """The last event of a generator: its value (JSON-able unless a stage says otherwise)."""

    value: Any = None


Event = Progress | Notice | Result
Events = Iterator[Event]


@dataclass
class Ticker:
    """Makes `Progress` events with an honest ETA: the mean pace of this run's own finished units.

    `already`: units found done (resumed, cached); they do not count for the pace.
    """

    task: str
    total: int
    already: int = 0
    _start: float = field(default_factory=time.monotonic)
    _done: int = 0

    def tick(self, n: int = 1, note: str = "") -> Progress:
        """Count `n` more units and return the event to yield."""
        self._done += n
        left = self.total - self.already - self._done
        pace = (time.monotonic() - self._start) / max(self._done, 1)
        return Progress(self.task, self.already + self._done, self.total, pace * left, note)


def collect(events: Iterable[Event], show: Callable[[Event], None] | None = None) -> Any:
    """Run a generator to its end and return the value of its `Result` (None if it gave none)."""
    value = None
    for event in events:
        if show is not None:
            show(event)
        if isinstance(event, Result):
            value = event.value
    return value
