"""What a person or a program sees: events, answers and errors of one command.

In: the events and the `Answer` of a command. Out: stderr gets progress and notices, stdout the
answer; with `--json` the last line of stdout is one JSON object and stderr stays empty, unless
`--events` asks for one JSON object an event.
"""

from __future__ import annotations

import json
import shutil
import sys
import textwrap
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limner.events import Event, Notice, Progress, Result, collect

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from limner.errors import LimnerError

LINE_EVERY_S = 4.0
"""Seconds between plain progress lines of one task: a log stays readable (starting value)."""


@dataclass(frozen=True)
class Answer:
    """What a command gives back. `findings`: True makes the exit code 1."""

    data: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    findings: bool = False


def duration(seconds: float) -> str:
    """Seconds as people say them: `8 s`, `2 min 05 s`, `3 h 10 min`."""
    whole = max(round(seconds), 0)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def sentences(verdict: Mapping[str, Any]) -> list[str]:
    """A verdict's statement for people: headline, then each reservation on a line of its own,
    broken between words at the width of the terminal where there is one."""
    said = [verdict.get("sentence"), *verdict.get("reservations", [])]
    lines = [str(line) for line in said if line] or [str(verdict["statement"])]
    if not sys.stdout.isatty():
        return lines
    width = max(shutil.get_terminal_size().columns, 20)
    broken = (textwrap.wrap(line, width, subsequent_indent="  ") for line in lines)
    return [part for parts in broken for part in parts]


def event_line(event: Event) -> dict[str, Any]:
    """An event as one JSON-able object, `kind` first."""
    if isinstance(event, Progress):
        eta = None if event.eta is None else round(event.eta, 1)
        return {
            "kind": "progress",
            "task": event.task,
            "done": event.done,
            "total": event.total,
            "eta_s": eta,
            "note": event.note,
        }
    if isinstance(event, Notice):
        return {"kind": "notice", "level": event.level, "text": event.text}
    return {"kind": "result"}


class Screen:
    """Draws one command. `as_json` silences people's output; `events` writes NDJSON to stderr."""

    def __init__(self, *, as_json: bool = False, events: bool = False) -> None:
        self.as_json = as_json
        self.events = events
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._last: dict[str, float] = {}

    def run(self, events: Iterable[Event]) -> Any:
        """Run a stage to its end, drawing it; returns the value of its `Result`."""
        try:
            return collect(events, self.event)
        finally:
            self.close()

    def close(self) -> None:
        """End the bars so that the next line starts clean."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
            self._tasks.clear()

    def event(self, event: Event) -> None:
        """Draw one event."""
        if self.events:
            print(json.dumps(event_line(event), ensure_ascii=False), file=sys.stderr, flush=True)
        elif self.as_json or isinstance(event, Result):
            return
        elif isinstance(event, Notice):
            self._notice(event)
        elif sys.stderr.isatty():
            self._bar(event)
        else:
            self._line(event)

    def _notice(self, event: Notice) -> None:
        text = event.text if event.level == "info" else f"{event.level}: {event.text}"
        if self._bars is not None:
            self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            print(text, file=sys.stderr, flush=True)

    def _line(self, event: Progress) -> None:
        now = time.monotonic()
        ended = event.done >= event.total
        if not ended and now - self._last.get(event.task, -LINE_EVERY_S) < LINE_EVERY_S:
            return
        self._last[event.task] = now
        left = f", about {duration(event.eta)} left" if event.eta and not ended else ""
        note = f"  {event.note}" if event.note else ""
        print(f"{event.task} {event.done}/{event.total}{left}{note}", file=sys.stderr, flush=True)

    def _bar(self, event: Progress) -> None:
        if self._bars is None:
            self._bars = _bars()
            self._bars.start()
        left = "" if event.eta is None else f"about {duration(event.eta)} left"
        if event.done >= event.total:
            left = ""
        task = self._tasks.get(event.task)
        if task is None:
            task = self._tasks[event.task] = self._bars.add_task(event.task, left="", note="")
        self._bars.update(task, completed=event.done, total=event.total, left=left, note=event.note)

    def answer(self, answer: Answer) -> None:
        """Show what the command gave back."""
        if self.as_json:
            print(json.dumps(answer.data, ensure_ascii=False, default=str), flush=True)
            return
        for line in answer.lines:
            print(line)
        sys.stdout.flush()

    def error(self, error: LimnerError) -> None:
        """Show an error: what, where, fix; with `--json` as the `error` object on stdout."""
        self.close()
        if self.as_json:
            both = {**getattr(error, "found", {}), "error": error.as_json()}
            print(json.dumps(both, ensure_ascii=False, default=str), flush=True)
            return
        print(f"error: {error.what}", file=sys.stderr)
        if error.where:
            print(f"  where: {error.where}", file=sys.stderr)
        if error.fix:
            print(f"  fix:   {error.fix}", file=sys.stderr)


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
    from rich.progress import Progress as Bars

    return Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=28),
        MofNCompleteColumn(),
        TextColumn("{task.fields[left]}", markup=False),
        TextColumn("{task.fields[note]}", style="dim", markup=False),
        console=Console(stderr=True),
    )


def findings_answer(findings: list[dict[str, Any]], clean: str) -> Answer:
    """The answer of a `check`: findings one a paragraph, or one line saying all is well."""
    lines = []
    for finding in findings:
        place = f"  ({finding['file']})" if finding.get("file") else ""
        lines.append(f"{finding.get('severity', 'warning')}: {finding.get('text', '')}{place}")
        if finding.get("fix"):
            lines.append(f"  fix: {finding['fix']}")
    return Answer({"findings": findings}, lines or [clean], findings=bool(findings))
