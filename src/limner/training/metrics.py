"""What a run measures, step by step: one JSON line a step, TensorBoard, Weights & Biases on wish.

In: values of a step. Out: `metrics.jsonl` (cut back to the step a run is taken up at),
`tensorboard/`, where a resumed run hides what it will measure again, and a W&B run.
"""

from __future__ import annotations

import importlib
import json
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from limner.errors import MissingExtraError
from limner.project.files import explain_os_error, write_text
from limner.training.config import RunConfig


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
    """Writes the measures of one run. `step`: the last update that is already done (0: new).

    Raises MissingExtraError when the run's record names a W&B project and wandb is not installed.
    """

    def __init__(self, folder: Path, step: int, config: RunConfig | None = None) -> None:
        self.path = folder / "metrics.jsonl"
        kept = [row for row in read(self.path) if step and row["step"] <= step]
        write_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file: IO[str] = self.path.open("a", encoding="utf-8")
        self._board = _board(folder / "tensorboard", step)
        self._wandb = _wandb(folder, config) if config is not None and config.wandb else None

    def add(self, step: int, **values: Any) -> None:
        """One line; scalar values also go to TensorBoard under their names."""
        scalars = {k: float(v) for k, v in values.items() if isinstance(v, int | float)}
        try:
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()
            if self._board is not None:
                self._board.add_event(_event(step, scalars))
            if self._wandb is not None:
                self._wandb.log({**scalars, "step": step})
        except OSError as error:
            raise explain_os_error(error, self.path) from None

    def close(self) -> None:
        """Close all of them. What TensorBoard could not keep stands in the JSON lines."""
        with suppress(OSError):
            self._file.close()
        if self._board is not None:
            with suppress(OSError):
                self._board.close()
        if self._wandb is not None:
            self._wandb.finish()


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


def _wandb(folder: Path, config: RunConfig) -> Any:
    """A W&B run of the same id whenever this run is taken up; WANDB_MODE=offline keeps it here."""
    try:
        wandb = importlib.import_module("wandb")
    except ImportError:
        raise MissingExtraError(
            "training.wandb names a project, and wandb is not installed",
            fix="pip install 'limner[wandb]', or leave training.wandb empty; TensorBoard files are "
            "written in any case.",
        ) from None
    run = wandb.init(
        project=config.wandb,
        id=f"{config.trajectory_sha256()[:16]}-{folder.name}",
        name=folder.name,
        dir=str(folder),
        resume="allow",
        config={k: v for k, v in config.as_json().items() if k != "base"},
        settings=wandb.Settings(silent=True, console="off", disable_git=True, disable_code=True),
    )
    # steps that are measured again after a kill overwrite nothing in W&B: the axis is our own
    run.define_metric("*", step_metric="step")
    return run


def _event(step: int, scalars: dict[str, float]) -> Any:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
    return Event(wall_time=time.time(), step=step, summary=Summary(value=values))
