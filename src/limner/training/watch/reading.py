"""A folder, log, database or project as a run: what kind it is, and all that its files say.

In: a path. Out: `Seen`. Nothing is written and no process is asked for more than whether it lives.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import math
import os
import re
import shlex
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import InputError, UsageError
from limner.training import heldout
from limner.training.watch import database, events, logtext
from limner.training.watch.seen import Point, SampleFile, SavedFile, Seen

if TYPE_CHECKING:
    from limner.project import Project
    from limner.project.records import Run

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}
_AITK_SAMPLE = re.compile(r"^\d+__(\d+)_(\d+)$")
_NUMBERED = re.compile(r"^(?P<name>.+?)(?:[_-]step|-|_|^step_)(?P<step>\d{6,9})$")
_OWN = re.compile(r"^step_(\d+)(?:_(\d+))?$")
_MUSUBI_SAMPLE = re.compile(r"^.+_(e)?(\d{6})_(\d{2})_\d+")
_FOLDER = re.compile(r"^checkpoint-(\d+)$")
LOGS = ("*.log", "log*.txt", "*_log.txt", "logs/*.log", "logs/*_log.txt")
FILES = 5000
"""Most files of a folder that are looked at (starting value)."""


def read(path: Path) -> Seen:
    """What a run's files say. path: a project, a run's folder, a log, a database, event files.

    Raises UsageError when there is no such path, InputError when nothing of a run is in it.
    """
    if not path.exists():
        raise UsageError("There is no such folder or file", where=str(path), fix="Check the path.")
    if path.is_file():
        return _file(path)
    for look in (_project, _aitoolkit, _folder):
        found = look(path)
        if found is not None:
            return found
    if (path / "character.yaml").is_file() and (path / "limner.db").is_file():
        raise InputError(
            "Nothing was trained in this project yet",
            where=str(path),
            fix=f"Train with `limner -C {shlex.quote(str(path))} train`, or give the output folder "
            "of the trainer that runs.",
        )
    inside = [p.parent for p in sorted(path.glob("*/loss_log.db"))]
    if inside:
        raise InputError(
            f"No run is in this folder itself, but {len(inside)} in it",
            where=str(path),
            fix=f"Give one: `limner watch {shlex.quote(str(inside[-1]))}`.",
        )
    raise InputError(
        "Nothing of a training run is here",
        where=str(path),
        fix="Give the trainer's output folder, its log, loss_log.db, a TensorBoard folder, or a "
        "Limner project.",
    )


def _file(path: Path) -> Seen:
    seen = Seen("log", path.stem, path.parent)
    if path.suffix == ".db":
        seen.kind = "database"
        _add_losses(seen, database.losses(path), path.name)
        seen.learning_rate = database.newest(path, "learning_rate")
    elif "tfevents" in path.name:
        seen.kind = "tensorboard"
        scalars: events.Scalars = {}
        for step, at, tag, value in events.read_file(path):
            scalars.setdefault(tag, {})[step] = (value, at)
        _add_scalars(seen, scalars, path.name)
    elif path.suffix == ".jsonl":
        _add_jsonl(seen, path)
    else:
        _add_log(seen, path)
    if not seen.losses and seen.step is None and not seen.lines:
        raise InputError(
            "No step and no loss can be read from this file",
            where=str(path),
            fix="Give a trainer's console log, loss_log.db, metrics.jsonl or an event file.",
        )
    _touch(seen, [path])
    return seen


def _project(path: Path) -> Seen | None:
    """A Limner project's newest run, or models/run_<n> and logs/run_<n> of one."""
    if (path / "character.yaml").is_file() and (path / "limner.db").is_file():
        from limner.project import Project

        project = Project.open(path)
        run = project.store.run()
        return None if run is None else _recorded(project, run)
    path = path.resolve()
    if path.name.startswith("run_") and path.parent.name in ("models", "logs"):
        root, recorded = path.parent.parent, f"models/{path.name}"
        if (root / "character.yaml").is_file() and (root / "limner.db").is_file():
            from limner.project import Project

            project = Project.open(root)
            number = path.name.removeprefix("run_")
            run = project.store.run(int(number)) if number.isdecimal() else None
            if run is not None:
                return _recorded(project, run)
        return _own_run(root, recorded)  # the folder alone, without its project's record
    return None


def _recorded(project: Project, run: Run) -> Seen:
    """A run with what the project's record says of it: state, length, process."""
    seen = _own_run(project.root, run.path)
    seen.states, seen.claimed_by = run.state, "limner.db"
    config = run.config.get("run", {})
    total = config.get("steps") if isinstance(config, dict) else None
    seen.total = seen.total or (int(total) if isinstance(total, int) else None)
    lock = project.root / ".limner" / "training.lock"
    if run.state == "running":
        seen.pid, seen.alive = _holder(lock), _is_held(lock)
    return seen


def _own_run(root: Path, recorded: str) -> Seen:
    models = root / recorded
    logs = root / "logs" / models.name
    seen = Seen("limner", models.name, models)
    metrics = logs / "metrics.jsonl"
    if metrics.is_file():
        _add_jsonl(seen, metrics)  # its lines have no times, the event files have
        timed = events.read_folder(logs / "tensorboard").get("loss", {})
        seen.seconds_per_step = _pace([Point(s, v, at) for s, (v, at) in sorted(timed.items())])
    for file in sorted(models.glob("step_*.safetensors")):
        if named := _OWN.match(file.stem):
            seen.saved.append(SavedFile(int(named[1]), file, file.stat().st_size))
    for file in sorted((logs / "samples").glob("*")) if (logs / "samples").is_dir() else []:
        named = _OWN.match(file.stem)
        if named and file.suffix.lower() in PICTURES:
            seen.samples.append(SampleFile(int(named[1]), int(named[2] or 0), file))
    if (logs / "process.json").is_file():
        _add_process(seen, logs / "process.json")
    for log in sorted(logs.glob("*.log")):
        _add_log(seen, log, losses=not seen.losses)
    _touch(seen, [metrics, *(s.path for s in seen.saved), *logs.glob("*.log")])
    return seen


def _aitoolkit(path: Path) -> Seen | None:
    """The folder `{training_folder}/{name}`: config.yaml, loss_log.db, samples, files."""
    config = _aitoolkit_config(path)
    ours = (path / "loss_log.db").is_file() or (path / ".job_config.json").is_file()
    if config is None and not ours:
        return None
    seen = Seen("ai-toolkit", path.name, path, zero_based=True, numbers_last=False)
    process = config or {}
    save, train = process.get("save", {}), process.get("train", {})
    seen.save_every = _count(save.get("save_every"), 1000)
    seen.keep = _count(save.get("max_step_saves_to_keep"), 5)
    seen.total = _count(train.get("steps"), None)
    if (path / "loss_log.db").is_file():
        _add_losses(seen, database.losses(path / "loss_log.db"), "loss_log.db")
        seen.learning_rate = database.newest(path / "loss_log.db", "learning_rate")
    _add_logs(seen, path)
    _add_scalars_below(seen, path)
    _add_saved(seen, path)
    for file in _some((path / "samples").glob("*")):
        named = _AITK_SAMPLE.match(file.stem)
        if named and file.suffix.lower() in PICTURES:
            seen.samples.append(SampleFile(int(named[1]), int(named[2]), file))
    _add_job(seen, path)
    files = [path / name for name in ("loss_log.db", "loss_log.db-wal", "log.txt")]
    _touch(seen, [*files, *_written(seen)])
    return seen


def _aitoolkit_config(path: Path) -> dict[str, Any] | None:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    for name in ("config.yaml", ".job_config.json", "config.yml"):
        try:
            data = YAML(typ="safe").load((path / name).read_text("utf-8"))
            found = data["config"]["process"][0]
        except (OSError, UnicodeDecodeError, YAMLError, KeyError, IndexError, TypeError):
            continue
        if isinstance(found, dict):
            return {k: v for k, v in found.items() if not isinstance(v, dict) or v}
    return None


def _add_job(seen: Seen, path: Path) -> None:
    """What the UI's database believes; it lies at the root of ai-toolkit, above the outputs."""
    for parent in list(path.resolve().parents)[:4]:
        if not (parent / "aitk_db.db").is_file():
            continue
        job = database.job(parent / "aitk_db.db", path.name)
        if job is None:
            continue
        words = {"completed": "done", "error": "failed", "queued": "waiting"}
        seen.states = words.get(str(job["status"]), str(job["status"]))
        seen.claimed_by = "aitk_db.db"
        seen.pid = _count(job.get("pid"), None)
        if seen.states == "running":
            seen.alive = _alive(seen.pid)
        seen.total = seen.total or _count(job.get("total_steps"), None)
        return


def _folder(path: Path) -> Seen | None:
    """Any other output folder: musubi-tuner, SimpleTuner, event files, a log."""
    seen = Seen("tensorboard", path.name, path)
    _add_saved(seen, path)
    folders = [f for f in _some(path.glob("checkpoint-*")) if _FOLDER.match(f.name)]
    for folder in folders:
        named = _FOLDER.match(folder.name)
        files = sorted(folder.glob("*.safetensors"))
        if named and files:
            size = sum(f.stat().st_size for f in files)
            seen.saved.append(SavedFile(int(named[1]), files[0], size))
    _add_logs(seen, path)
    _add_scalars_below(seen, path)
    for file in sorted([*path.glob("*.jsonl"), *path.glob("logs/*.jsonl")]):
        if not seen.losses:
            _add_jsonl(seen, file)
    for place in (path / "sample", path / "samples", path / "validation_images"):
        for number, file in enumerate(_some(place.glob("*"))):
            named = _MUSUBI_SAMPLE.match(file.stem)
            if file.suffix.lower() in PICTURES:
                step = int(named[2]) if named and not named[1] else _last_number(file.stem)
                index = int(named[3]) if named else number
                seen.samples.append(SampleFile(step, index, file))
    if (path / "process.json").is_file():
        _add_process(seen, path / "process.json")
    if not (seen.losses or seen.saved or seen.lines):
        return None
    musubi = any("-step" in s.path.stem for s in seen.saved) or seen.averaged
    seen.kind = "SimpleTuner" if folders else "musubi-tuner" if musubi else seen.kind
    seen.numbers_last = bool(folders)
    _touch(seen, _written(seen))
    return seen


def _written(seen: Seen) -> list[Path]:
    return [*(s.path for s in seen.saved), *(s.path for s in seen.samples[-20:])]


def _last_number(text: str) -> int:
    numbers = re.findall(r"\d+", text)
    return int(numbers[0]) if numbers else 0


def _some(files: Iterable[Path]) -> list[Path]:
    found = []
    for number, file in enumerate(files):
        if number >= FILES:
            break
        found.append(file)
    return sorted(found)


def _count(value: object, default: int | None) -> int | None:
    good = isinstance(value, int) and not isinstance(value, bool) and value > 0
    return value if good and isinstance(value, int) else default


def _add_saved(seen: Seen, path: Path) -> None:
    """`name_000000250`, `name-step00000500`, `name-000005` and the unnumbered last one."""
    files = [f for f in _some(path.glob("*.safetensors")) if f.is_file()]
    for file in files:
        named = _NUMBERED.match(file.stem)
        step = int(named["step"]) if named else None
        seen.saved.append(SavedFile(step, file, file.stat().st_size))
    seen.saved.sort(key=lambda s: (s.step is None, s.step or 0))


def _add_logs(seen: Seen, path: Path) -> None:
    files = {f for pattern in LOGS for f in path.glob(pattern) if f.is_file()}
    for file in sorted(files, key=lambda f: f.stat().st_mtime):
        _add_log(seen, file, losses=not any(s.endswith(".db") for s in seen.sources))


def _add_log(seen: Seen, path: Path, *, losses: bool = True) -> None:
    log = logtext.read_file(path)
    if losses and log.points:
        first = log.points[0].step
        kept = [p for p in seen.losses if p.step < first]
        seen.losses = [*kept, *log.points]
        seen.averaged = log.averaged
        seen.sources.append(path.name)
    seen.step = log.step if log.step is not None else seen.step
    seen.total = log.total or seen.total
    seen.seconds_per_step = log.seconds or seen.seconds_per_step
    seen.learning_rate = log.rate if log.rate is not None else seen.learning_rate
    seen.lines += log.lines
    _touch(seen, [path])


def _add_losses(seen: Seen, points: list[Point], source: str) -> None:
    if points:
        seen.losses = points
        seen.step = max(points[-1].step, seen.step or 0)
        seen.sources.append(source)
        seen.seconds_per_step = _pace(points) or seen.seconds_per_step


def _pace(points: list[Point]) -> float | None:
    """Median seconds a step over the last hundred with a time."""
    timed = [p for p in points if p.at is not None][-100:]
    gaps = [
        ((b.at or 0) - (a.at or 0)) / (b.step - a.step)
        for a, b in itertools.pairwise(timed)
        if b.step > a.step
    ]
    good = sorted(g for g in gaps if g > 0)
    return good[len(good) // 2] if good else None


def _add_scalars_below(seen: Seen, path: Path) -> None:
    if not seen.losses:
        _add_scalars(seen, events.read_folder(path), "TensorBoard")


def _add_scalars(seen: Seen, scalars: events.Scalars, source: str) -> None:
    order = ("loss/current", "loss/loss", "train_loss", "loss", "loss/average")
    names = [t for t in order if t in scalars] + sorted(t for t in scalars if "loss" in t.lower())
    if names:
        points = [Point(s, v, at) for s, (v, at) in sorted(scalars[names[0]].items())]
        _add_losses(seen, points, f"{source} ({names[0]})")
        seen.averaged = names[0] == "loss/average"
    rate = next((t for t in sorted(scalars) if t.lower().startswith(("lr", "learning_rate"))), None)
    if rate:
        seen.learning_rate = scalars[rate][max(scalars[rate])][0]


def _add_jsonl(seen: Seen, path: Path) -> None:
    """Lines with `step` and `loss`: Limner's metrics, SimpleTuner's training_metrics."""
    points: dict[int, Point] = {}
    rows: list[dict[str, Any]] = []
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if not isinstance(row, dict) or not isinstance(row.get("step"), int):
            continue
        rows.append(row)
        value = next((row[k] for k in ("loss", "train_loss", "step_loss") if k in row), None)
        rate = row.get("learning_rate", row.get("lr"))
        seen.learning_rate = rate if isinstance(rate, int | float) else seen.learning_rate
        if isinstance(value, int | float) or (value is None and "loss" in row):
            at = row.get("time", row.get("timestamp"))
            number = float(value) if value is not None else math.nan
            when = float(at) if isinstance(at, int | float) else None
            points[row["step"]] = Point(row["step"], number, when)
            seen.averaged = seen.averaged or row.get("averaged") is True
    _add_losses(seen, [points[s] for s in sorted(points)], path.name)
    with suppress(TypeError, ValueError):  # another program's lines may mean other things by it
        seen.fixed = heldout.points(rows)


def _add_process(seen: Seen, path: Path) -> None:
    """`process.json` of a trainer that Limner started: {pid, started, trainer, ...}."""
    try:
        data = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return
    if not isinstance(data, dict):
        return
    seen.pid = _count(data.get("pid"), None)
    seen.total = seen.total or _count(data.get("steps"), None)
    seen.save_every = _count(data.get("save_every"), seen.save_every)
    if data.get("state") == "running":
        seen.states, seen.claimed_by = "running", path.name
        seen.alive = _alive(seen.pid)


def _is_held(lock: Path) -> bool:
    """Whether a process holds the lock now; its number alone may be another process's by now."""
    try:
        with lock.open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _holder(lock: Path) -> int | None:
    try:
        found = re.search(r"process (\d+)", lock.read_text("utf-8"))
    except OSError:
        return None
    return int(found[1]) if found else None


def _alive(pid: int | None) -> bool | None:
    """Whether a process of this machine lives; None when none is named."""
    if pid is None:
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _zombie(pid)


def _zombie(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8")
    except OSError:
        return False
    return text.rpartition(")")[2].split()[:1] == ["Z"]


def _touch(seen: Seen, files: Iterable[Path]) -> None:
    times = []
    for file in files:
        try:
            times.append(file.stat().st_mtime)
        except OSError:
            continue
    if times:
        seen.touched = max([*times, seen.touched or 0.0])
