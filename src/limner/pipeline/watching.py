"""The watch page: one HTML file of a snapshot, styles and samples inside, no script, no network.

In: a snapshot of `limner.training.watch`. Out: a page that opens anywhere, also as ai-toolkit's
`plugin.html` (a sandboxed frame without cookies or network).
"""

from __future__ import annotations

import math
import time
from importlib import resources
from pathlib import Path
from typing import Any

from limner.project.files import write_text

REFRESH_S = 20
PLUGIN = "plugin.html"
"""ai-toolkit shows a file of this name in the job's folder as a tab; it reloads it itself."""


def write_page(now: dict[str, Any], out: Path) -> Path:
    """Write the page whole; a plugin page does not reload itself."""
    write_text(out, page(now, refresh=None if out.name == PLUGIN else REFRESH_S))
    return out


def page(now: dict[str, Any], *, refresh: int | None = None) -> str:
    """The page as text."""
    from markupsafe import Markup

    from limner import look
    from limner.training.watch.pictures import preview

    own = (resources.files("limner.pipeline") / "pages" / "watch.css").read_text("utf-8")
    steps = sorted({s["step"] for s in now["samples"]}, reverse=True)
    rows = [
        (
            step,
            [
                {**s, "data": Markup(data) if (data := preview(Path(s["path"]))) else None}
                for s in now["samples"]
                if s["step"] == step
            ],
        )
        for step in steps
    ]
    return look.render(
        "limner.pipeline",
        "watch.html.j2",
        folder="pages",
        styles=("tokens.css", "components.css"),
        own=own,
        now=now,
        words=words(now),
        chart=_chart(now),
        rows=rows,
        columns=min(max((len(cells) for _, cells in rows), default=1), 6),
        refresh=refresh,
    )


def span(seconds: float) -> str:
    """Seconds as people say them: 40 s, 12 min, 3 h 10 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"


def words(now: dict[str, Any]) -> dict[str, Any]:
    """What a person reads of a snapshot; the terminal says the same."""
    step, total, loss, machine = now["step"], now["total"], now["loss"], now["machine"]
    share = None if step is None or not total else min(step / total, 1.0)
    progress = "not known" if step is None else f"{step:,} of {total:,}" if total else f"{step:,}"
    pace = now["seconds_per_step"]
    used, there, free = (machine[key] for key in ("vram_used_mb", "vram_total_mb", "disk_free_gb"))
    errors = [f for f in now["flags"] if f["severity"] == "error"]
    warnings = [f for f in now["flags"] if f["severity"] == "warning"]
    state = now["state"] or ("not said" if step is None else "state not said")
    if errors:
        say = f"{errors[0]['what']}."
    elif warnings:
        say = f"{len(warnings)} thing{'s' if len(warnings) > 1 else ''} to look at."
    elif now["state"] == "done":
        say = "Done; no flag."
    else:
        say = "Nothing to worry about in what can be seen."
    if now["flags"] and not errors and not warnings:
        notes = len(now["flags"])
        say = f"{say.rstrip('.')}; {notes} note{'s' if notes > 1 else ''}."
    falls = None if loss is None else f"{loss['first']:.3g} to {loss['now']:.3g}"
    return {
        "say": say,
        "flagged": bool(errors or warnings),
        "state": state,
        "share": share,
        "progress": progress,
        "eta": None if now["eta_s"] is None else f"about {span(now['eta_s'])}",
        "eta_reason": "done" if now["state"] == "done" else "not known",
        "pace": None
        if not pace
        else f"{pace:.2f} s a step"
        if pace >= 1
        else f"{1 / pace:.1f} steps a second",
        "loss": None if loss is None else f"{loss['now']:.4f}",
        "loss_said": None if falls is None else f"smoothed loss from {falls}",
        "vram": None if not there else f"{used / 1024:.1f} of {there / 1024:.1f} GB",
        "disk": None if free is None else f"{free:.{0 if free >= 10 else 1}f} GB free",
        "at": time.strftime("%H:%M:%S"),
    }


def _chart(now: dict[str, Any]) -> dict[str, Any] | None:
    """Paths and ticks of the loss, in a box of 1000 x 100."""
    loss = now["loss"]
    if loss is None or len(loss["smooth"]) < 2:
        return None
    smooth, raw = loss["smooth"], [] if loss["averaged"] else loss["raw"]
    end = max(now["total"] or 0, smooth[-1][0])
    start = 0
    values = sorted(v for _, v in raw or smooth)
    top = max(values[int(0.98 * (len(values) - 1))], *(v for _, v in smooth), 1e-9)
    unit = _nice(top / 4)
    y_max = unit * math.ceil(top / unit - 1e-9)

    def path(points: list[list[float]]) -> str:
        spots = [
            f"{1000 * (s - start) / max(end - start, 1):.1f} "
            f"{100 - 100 * min(max(v, 0) / y_max, 1):.2f}"
            for s, v in points
        ]
        return "M" + "L".join(spots)

    count = round(y_max / unit)
    return {
        "raw": path(raw) if raw else "",
        "smooth": path(smooth),
        "y": [(k / count, f"{k * unit:.4g}") for k in range(count + 1)],
        "x": [(0.0, f"{start:,}"), (0.5, f"{(start + end) // 2:,}"), (1.0, f"{end:,} steps")],
        "saved": [min(c["step"] / end, 1) for c in now["checkpoints"] if c["step"]],
    }


def _nice(rough: float) -> float:
    """A round number not below `rough`: 1, 2, 2.5 or 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
