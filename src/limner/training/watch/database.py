"""ai-toolkit's databases, read only: losses of a run, and what its UI believes of the job.

In: `loss_log.db`, `aitk_db.db`. Out: points, keys, the job's row. Never written to: opened with
mode=ro, and as an immutable snapshot where even that is not possible.
"""

from __future__ import annotations

import math
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from limner.training.watch.seen import Point


def _open(path: Path) -> sqlite3.Connection | None:
    for mode in ("mode=ro", "mode=ro&immutable=1"):
        try:
            found = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, timeout=2)
            found.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
        except sqlite3.Error:
            continue
        return found
    return None


def _rows(path: Path, sql: str, args: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    connection = _open(path)
    if connection is None:
        return []
    with closing(connection) as base:
        try:
            return base.execute(sql, args).fetchall()
        except sqlite3.Error:
            return []


def losses(path: Path) -> list[Point]:
    """The loss of every logged step. A value that SQLite could not hold (NaN is NULL) is NaN."""
    keys = [str(row[0]) for row in _rows(path, "SELECT DISTINCT key FROM metrics")]
    others = [k for k in keys if "loss" in k and not k.startswith("val")]
    found = [k for k in ("loss/loss", "loss", *others) if k in keys]
    if not found:
        return []
    rows = _rows(
        path,
        "SELECT m.step, m.value_real, m.value_text, s.wall_time FROM metrics m "
        "LEFT JOIN steps s ON s.step = m.step WHERE m.key = ? ORDER BY m.step",
        (found[0],),
    )
    return [Point(int(step), _real(real, text), _time(at)) for step, real, text, at in rows]


def _real(real: Any, text: Any) -> float:
    try:
        return float(real if real is not None else text if text is not None else math.nan)
    except (TypeError, ValueError):
        return math.nan


def _time(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def newest(path: Path, key: str) -> float | None:
    """The newest value of a key, e.g. learning_rate."""
    rows = _rows(
        path, "SELECT value_real FROM metrics WHERE key = ? ORDER BY step DESC LIMIT 1", (key,)
    )
    return float(rows[0][0]) if rows and rows[0][0] is not None else None


def job(path: Path, name: str) -> dict[str, Any] | None:
    """What ai-toolkit's UI believes of a job: status, pid, step, total_steps, info."""
    columns = [str(r[1]) for r in _rows(path, "PRAGMA table_info(Job)")]
    wanted = [c for c in ("status", "pid", "step", "total_steps", "info") if c in columns]
    if "status" not in wanted:
        return None
    rows = _rows(path, f"SELECT {', '.join(wanted)} FROM Job WHERE name = ?", (name,))
    return dict(zip(wanted, rows[0], strict=True)) if rows else None
