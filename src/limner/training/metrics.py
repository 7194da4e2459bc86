"""What a run measures, step by step: one JSON line a step, and TensorBoard event files.

In: values of a step. Out: `metrics.jsonl` (cut back to the step a run is taken up at) and
`tensorboard/`, where a resumed run hides what it will measure again.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from limner.project.files import explain_os_error, write_text


def read(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a metrics file, without one cut by a kill; [] when there is none."""
    rows: list[dict[str, Any]] = []
    if not path.exists():
        return rows
    for line in path.read_text("utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
    return rows


class Metrics:
    """Writes the measures of one run. `step`: the last update that is already done (0: new)."""

    def __init__(self, folder: Path, step: int) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [row for row in read(self.path) if step and row["step"] <= step]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file: IO[str] = self.path.open("a", encoding="utf-8")
        self._board = _board(folder / "tensorboard", step)

    def add(self, step: int, **values: Any) -> None:
        """One line; scalar values also go to TensorBoard under their names."""
        try:
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()
            if self._board is not None:
                scalars = {k: float(v) for k, v in values.items() if isinstance(v, int | float)}
                self._board.add_event(_event(step, scalars))
        except OSError as error:
            raise explain_os_error(error, self.path) from None

    def close(self) -> None:
        """Close both files. What TensorBoard could not keep stands in the JSON lines."""
        with suppress(OSError):
            self._file.close()
        if self._board is not None:
            with suppress(OSError):
                self._board.close()


def _board(folder: Path, step: int) -> Any:
    """An event file writer, or None when TensorBoard is not installed."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    writer = EventFileWriter(str(folder), flush_secs=10)
    if step:  # readers drop events of later steps from earlier files
        start = SessionLog(status=SessionLog.START)
        writer.add_event(Event(wall_time=time.time(), step=step + 1, session_log=start))
    return writer


def _event(step: int, scalars: dict[str, float]) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    return Event(wall_time=time.time(), step=step, summary=Summary(value=values))
