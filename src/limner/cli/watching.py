"""The command that looks at any training run while it goes: watch."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shell import app, command
from limner.cli.show import Answer
from limner.errors import UsageError

_MARKS = {"error": "ERROR", "warning": "look ", "info": "note "}
_BARS = "▁▂▃▄▅▆▇█"


@command(app, "watch")
def watch(
    path: Annotated[
        Path, typer.Argument(help="A project, a trainer's folder, a log, loss_log.db, event files")
    ],
    html: Annotated[
        Path | None, typer.Option(help="Write the view as one HTML page, anew at every look")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Look once and stop")] = False,
    every: Annotated[float, typer.Option(min=1, help="Seconds between looks")] = 5.0,
    rule: Annotated[
        list[str] | None,
        typer.Option(help="Your own threshold, NAME=NUMBER; see docs/watch.md", metavar="N=V"),
    ] = None,
) -> Answer:
    """Watch a run, also one Limner did not start: loss, time left, samples, red flags."""
    from limner.training.watch import Watch

    looking = Watch(path, _own(rule or []))
    live = sys.stdout.isatty() and not once and "--json" not in sys.argv
    now = _live(looking, html, every) if live else looking.look()
    if html is not None:
        from limner.pipeline.watching import write_page

        write_page(now, html)
    lines = _lines(now) + ([f"page: {html}"] if html is not None else [])
    bad = any(flag["severity"] in ("error", "warning") for flag in now["flags"])
    return Answer(now, [] if live else lines, findings=bad)


def _own(given: list[str]) -> dict[str, float]:
    made = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            made[name.strip()] = float(value)
        except ValueError:
            raise UsageError(
                f"{text!r} is no NAME=NUMBER", where="--rule", fix="E.g. watch_spike=3."
            ) from None
    return made


def _live(looking: Any, html: Path | None, every: float) -> dict[str, Any]:
    """Look again and again until the run is done or Ctrl-C; the last look."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    now: dict[str, Any] = looking.look()
    with Live(console=Console(), auto_refresh=False, vertical_overflow="visible") as screen:
        while True:
            if html is not None:
                from limner.pipeline.watching import write_page

                write_page(now, html)
            screen.update(Text("\n".join(_lines(now))), refresh=True)
            if now["state"] == "done":
                return now
            try:
                time.sleep(every)
            except KeyboardInterrupt:
                return now
            now = looking.look()


def _lines(now: dict[str, Any]) -> list[str]:
    from limner.pipeline.watching import words

    said = words(now)
    lines = [f"{now['name']}  ({now['kind']}, {said['state']})", f"{said['say']}", ""]
    if said["share"] is not None:
        full = round(said["share"] * 30)
        lines.append(f"[{'#' * full}{'.' * (30 - full)}] step {said['progress']}")
    else:
        lines.append(f"step {said['progress']}")
    left = said["eta"] or said["eta_reason"]
    lines.append(f"time left: {left}; pace: {said['pace'] or 'not measured'}")
    if now["loss"] is not None:
        lines.append(f"loss {said['loss']} smoothed  {_sparkline(now['loss']['smooth'])}")
    lines.append(
        f"GPU memory: {said['vram'] or 'not measured'}; disk: {said['disk'] or 'not measured'}; "
        f"{len(now['checkpoints'])} checkpoint files, {len(now['samples'])} samples"
    )
    for flag in now["flags"]:
        lines += ["", f"{_MARKS[flag['severity']]} {flag['what']}", f"      {flag['do']}"]
    for name, why in now["not_looked"].items():
        lines.append(f"not looked at: {name} ({why})" if name in ("nan", "checkpoints") else "")
    return [line for n, line in enumerate(lines) if line or (n and lines[n - 1])]


def _sparkline(points: list[list[float]], width: int = 40) -> str:
    """The curve in 40 blocks."""
    if len(points) < 2:
        return ""
    picked = [points[round(i * (len(points) - 1) / (width - 1))][1] for i in range(width)]
    low, high = min(picked), max(picked)
    unit = (high - low) or 1.0
    return "".join(_BARS[min(int(8 * (v - low) / unit), 7)] for v in picked)
