"""Run ai-toolkit or musubi-tuner as a process of its own, and go on with it after any stop.

In: a project, a `Setup`, the folder of the export, the trainer's `Home`. Out: events, a Run record,
models/run_<n> and logs/run_<n> like those of our own trainer. The process outlives us: after
kill -9 of Limner the same command finds it and goes on reading; after a kill of the trainer it
starts it again, and the trainer's own resume is used.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.errors import WorkFailedError
from limner.events import Event, Events, Notice, Progress, Result
from limner.project import Project
from limner.project.files import canonical_json, sha256_bytes, write_json, write_text
from limner.project.records import Run
from limner.training.peers import aitoolkit, musubi
from limner.training.peers.homes import Home
from limner.training.peers.setup import Setup, notes
from limner.training.peers.taking import Taking, lay_aside_cut_files
from limner.training.watch import logtext

LOOK_EVERY_S = 1.0
"""Between two looks at the console; files are looked at every tenth time (starting values)."""
PATIENCE_S = 20.0
"""After an interrupt, before the process is ended by force (starting value)."""

_LAST = 'cat "/proc/$$/stat" > "$1" 2> /dev/null; shift 2; exec "$@"'
_STEP = 'cat "/proc/$$/stat" > "$1" 2> /dev/null; done=$2; shift 2; "$@" && : > "$done"'
"""$1: where the process says who it is, $2: the mark of a step that ended well."""

_CAUSES = {
    "Missing control images": "Export with --control blank or self: edit models need references.",
    "out of memory": "Use a smaller size or narrower weights (`limner plan --gpu ...`).",
    "No module named": "The Python given is not the trainer's own: give --python.",
    "must have a job key": "The config was changed; start again with --fresh.",
}


@dataclass
class Work:
    """One run while it goes."""

    project: Project
    run: Run
    setup: Setup
    home: Home
    data: Path
    models: Path
    logs: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def output(self) -> Path:
        """Where the trainer writes."""
        place = self.models / "peer"
        return place / self.setup.name if self.setup.trainer == "ai-toolkit" else place

    @property
    def console(self) -> Path:
        """Where its console goes; `limner watch` reads it too."""
        return self.logs / "console.log"

    @property
    def process(self) -> Path:
        """The record of the process."""
        return self.logs / "process.json"

    @property
    def child(self) -> Path:
        """What the process wrote about itself: its line of /proc/PID/stat."""
        return self.logs / ".process"

    def marker(self, step: str) -> Path:
        """There when a step before the last has ended well."""
        return self.logs / f".{step}.done"


def run(
    project: Project,
    setup: Setup,
    data: Path,
    home: Home,
    *,
    dataset_version: int,
    resume: bool = True,
    fingerprint: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Events:
    """Train with another trainer, or go on with its newest run of the same setup.

    data: folder of the export. fingerprint: of the base, if it is on this machine. Ends in
    Result({run, state, checkpoints, seconds, path, trainer}). Raises WorkFailedError with the last
    lines of its console when it fails; what it saved is kept and recorded.
    """
    with project.exclusive("training"):
        began = time.monotonic()
        digest = sha256_bytes(canonical_json([_facts(setup, fingerprint), str(data)]).encode())
        found = project.store.run()
        same = found is not None and found.config.get("sha256") == digest and resume
        if found is not None and same and found.state == "done":
            yield Notice(f"Run {found.version} is done already; `--fresh` starts another.")
            yield Result({**summary(project, found), "seconds": 0.0})
            return
        if found is not None and same:
            yield Notice(f"Going on with run {found.version} of {setup.trainer}.")
            record = found
        else:
            record = _journal(project, setup, dataset_version, digest, fingerprint)
        for note in notes(setup):
            yield Notice(note)
        folders = (project.path(record.path), project.folder("logs") / f"run_{record.version}")
        work = Work(project, record, setup, home, data, *folders, dict(environment or {}))
        project.store.update_run(record.version, state="running", error=None)
        yield from _guarded(work, began)


def _facts(setup: Setup, fingerprint: str | None) -> dict[str, Any]:
    """What the run's weights depend on, under the names of our own runs."""
    run = setup.counts
    return {
        "base": setup.weights or setup.base.name,
        "base_fingerprint": fingerprint,
        "template": setup.tag,
        "control": setup.mode,
        "resolution": max(setup.resolutions),
        "resolutions": list(setup.resolutions),
        "rank": setup.rank,
        "learning_rate": setup.rate,
        "steps": run.optimizer_steps,
        "batch": setup.batch * setup.accumulation,
        "caption_dropout": setup.dropout,
        "seed": setup.seed,
        "trainer": setup.trainer,
        "name": setup.name,
        "checkpoints": [c.updates for c in run.checkpoints],
        "groups": [[g["name"], g["images"], g["repeats"]] for g in setup.groups],
    }


def _journal(
    project: Project, setup: Setup, dataset: int, digest: str, fingerprint: str | None
) -> Run:
    """Plan and run written down before anything of them exists."""
    run = setup.counts
    plan = project.store.add_plan(
        dataset_version=dataset,
        data={
            "trainer": setup.trainer,
            "images": run.images,
            "batch": setup.batch * setup.accumulation,
            "optimizer_steps": run.optimizer_steps,
            "image_passes": run.image_passes,
            "turns": run.image_passes / max(run.images, 1),
            "checkpoints": [{"step": c.updates, "label": c.label} for c in run.checkpoints],
            "seconds": None,
            "seconds_reason": "another trainer's pace is measured while it runs",
            "warnings": notes(setup),
        },
    )
    last = project.store.run()
    number = last.version + 1 if last else 1
    version = project.store.add_run(
        plan_version=plan,
        dataset_version=dataset,
        trainer=setup.trainer,
        state="running",
        config={"sha256": digest, "run": _facts(setup, fingerprint)},
        path=f"models/run_{number}",
        error=None,
        finished_at=None,
    )
    found = project.store.run(version)
    assert found is not None
    return found


def _guarded(work: Work, began: float) -> Events:
    store, version = work.project.store, work.run.version
    try:
        finished = yield from _work(work)
    except (KeyboardInterrupt, GeneratorExit):
        _stop(work)
        store.update_run(version, state="stopped")
        raise
    except BaseException as error:
        store.update_run(version, state="failed", error=str(error))
        raise
    store.update_run(version, state="done" if finished else "stopped")
    store.log("training", "run", run=version, trainer=work.setup.trainer)
    now = store.run(version)
    seconds = round(time.monotonic() - began, 1)
    yield Result({**summary(work.project, now or work.run), "seconds": seconds})


def summary(project: Project, run: Run) -> dict[str, Any]:
    """What the result says of a run that another program trained: its state and its files."""
    return {
        "run": run.version,
        "trainer": run.trainer,
        "state": run.state,
        "path": run.path,
        "checkpoints": [
            {
                "step": p.step,
                "path": p.path,
                "sha256": p.sha256,
                "label": p.data.get("label"),
                "file": p.data.get("file"),
                "held_out_loss": None,
            }
            for p in project.store.checkpoints(run.version)
        ],
    }


def _work(work: Work) -> Generator[Event, None, bool]:
    """Prepare, start or find the process, follow it to its end."""
    work.output.mkdir(parents=True, exist_ok=True)
    work.logs.mkdir(parents=True, exist_ok=True)
    taking = Taking(work.project, work.run.version, work.setup, work.output, work.models, work.logs)
    steps = _commands(work)
    pid, name = _running(work)
    if pid is not None:
        yield Notice(f"{work.setup.trainer} is at work already (process {pid}); reading on.")
        yield from _follow(work, taking, None, pid)
        if name == steps[-1][0] or not work.marker(name).exists():
            return _end(work, taking, None)
    for file in lay_aside_cut_files(work.output):
        yield Notice(f"{file} was cut by a kill and is laid aside.", "warning")
    code: int | None = 0
    for name, command in steps:
        if work.marker(name).exists():
            continue
        yield Notice(f"{work.setup.trainer}: {name.replace('_', ' ')}")
        process = _start(work, command, name, last=name == steps[-1][0])
        yield from _follow(work, taking, process, process.pid)
        code = process.wait()
        if code != 0:
            break
    return _end(work, taking, code)


def _commands(work: Work) -> list[tuple[str, list[str]]]:
    """The trainer's own programs in order, its configs written beside the run."""
    python, folder = work.home.python, work.home.folder
    if work.setup.trainer == "ai-toolkit":
        config = work.models / aitoolkit.CONFIG
        write_text(config, aitoolkit.text(work.setup, str((work.models / "peer").resolve())))
        return [("train", [python, "run.py", str(config.resolve())])]
    for name, text in musubi.configs(work.setup).items():
        write_text(work.models / name, text)
    weights = work.home.weights
    here = f"{work.models.resolve()}/"
    given = musubi.arguments(
        work.setup,
        dit=weights["dit"],
        vae=weights["vae"],
        text_encoder=weights["text_encoder"],
        output=str(work.output.resolve()),
        here=here,
    )
    train = given[musubi.STEPS[2]]
    states = sorted(work.output.glob("*-state"), key=lambda p: p.name)
    if states:
        train = [*train, "--resume", str(states[-1].resolve())]
    launch = [python, "-m", "accelerate.commands.launch", "--num_cpu_threads_per_process", "1"]
    launch += ["--mixed_precision", "bf16"]
    return [
        *(
            (step, [python, musubi.program(step, str(folder)), *given[step]])
            for step in musubi.STEPS[:2]
        ),
        (musubi.STEPS[2], [*launch, musubi.program(musubi.STEPS[2], str(folder)), *train]),
    ]


def _start(work: Work, command: list[str], name: str, *, last: bool) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own, its console appended to ours.

    The shell writes who it is before it becomes the program, and marks a step before the last as
    done when that ended well: both hold though we are killed at any moment.
    """
    if shutil.which(command[0], path=os.environ.get("PATH")) is None:
        raise WorkFailedError(
            f"{work.setup.trainer} cannot be started: there is no such program",
            where=command[0],
            fix="Give the Python of its own environment with --python.",
        )
    _note_process(work, "starting", None, name)
    told = [str(work.child.resolve()), str(work.marker(name).resolve())]
    with work.console.open("ab") as console:
        console.write(f"\n# {name}\n".encode())
        console.flush()
        try:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _LAST if last else _STEP, "limner", *told, *command],
                cwd=work.home.folder,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **work.environment},
            )
        except OSError as error:
            raise WorkFailedError(
                f"{work.setup.trainer} cannot be started: {error.strerror}",
                where=command[0],
                fix="Give the Python of its own environment with --python.",
            ) from None
    _note_process(work, "running", process.pid, name)
    return process


def _note_process(work: Work, state: str, pid: int | None, step: str | None = None) -> None:
    run = work.setup.counts
    write_json(
        work.process,
        {
            "pid": pid,
            "started_at": _start_time(pid),
            "state": state,
            "step": step,
            "trainer": work.setup.trainer,
            "steps": run.logged_steps,
        },
    )


def _start_time(pid: int | None) -> str | None:
    """The kernel's start time of a process: tells it from another one with the same number."""
    try:
        return _started(Path(f"/proc/{pid}/stat").read_text("utf-8"))
    except OSError:
        return None


def _started(stat: str) -> str | None:
    """Start time in a line of /proc/PID/stat (proc(5)); None of one that has ended."""
    words = stat.rpartition(")")[2].split()
    return None if len(words) < 20 or words[0] == "Z" else words[19]


def _running(work: Work) -> tuple[int | None, str]:
    """The process of an earlier call, if it still lives, and the step it is at.

    The record names the step before the process exists; a process that we had no time to record
    is known by what it wrote itself.
    """
    try:
        told = json.loads(work.process.read_text("utf-8"))
        name, pid, started = str(told.get("step") or ""), told["pid"], told["started_at"]
        if pid is None and told["state"] == "starting":
            stat = work.child.read_text("utf-8")
            pid, started = stat.split()[0], _started(stat)
        pid = int(pid)
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None, ""
    return (pid, name) if started is not None and _start_time(pid) == started else (None, name)


def _follow(
    work: Work, taking: Taking, process: subprocess.Popen[bytes] | None, pid: int
) -> Generator[Event, None, None]:
    """Progress until the process ends; files are taken over as they come."""
    shown, turn, at = -1, 0, 0
    log = logtext.Log()
    while True:
        ended = process.poll() is not None if process is not None else _start_time(pid) is None
        text, at = _fresh(work.console, at)
        new = logtext.read_text(text)
        for line in new.lines:
            if line.kind in ("oom", "removed", "error", "resumed"):
                bad = line.kind in ("oom", "error")
                yield Notice(line.text, "warning" if bad else "info")
        log = new if new.step is not None else log
        if log.step is not None and log.total and log.step != shown:
            shown = log.step
            left = None if log.seconds is None else (log.total - log.step) * log.seconds
            loss = f"loss {log.points[-1].value:.3g}" if log.points else ""
            yield Progress(work.setup.trainer, log.step, log.total, left, loss)
        if turn % 10 == 0 or ended:
            taking.look(ended=False)
        if ended:
            return
        turn += 1
        time.sleep(LOOK_EVERY_S if turn > 5 else 0.1)


def _fresh(console: Path, at: int) -> tuple[str, int]:
    """What was added to the console since byte `at`."""
    try:
        with console.open("rb") as source:
            source.seek(at)
            data = source.read(logtext.MOST_BYTES)
    except OSError:
        return "", at
    return data.decode("utf-8", errors="replace"), at + len(data)


def _end(work: Work, taking: Taking, code: int | None) -> bool:
    """Take over the rest; True when the run reached its end. Raises WorkFailedError."""
    _note_process(work, "ended", None)
    seen = taking.look(ended=True)
    last = any(s.step is None for s in seen.saved) if seen is not None else False
    if last and code in (0, None):
        if taking.refused:
            name, why = next(iter(taking.refused.items()))
            raise WorkFailedError(f"{name} cannot be taken over: {why}", where=str(work.output))
        return True
    said = _last_words(work.console)
    fix = next((f for word, f in _CAUSES.items() if word in said), None)
    raise WorkFailedError(
        f"{work.setup.trainer} ended before its last step"
        + (f" (exit {code})" if code else "")
        + (f": {said.splitlines()[-1][:200]}" if said else ""),
        where=str(work.console),
        fix=fix or "What it saved is kept. Run the same command again to go on.",
    )


def _last_words(console: Path) -> str:
    """The last lines of the console that are no progress bars."""
    log = logtext.read_file(console)
    errors = [line.text for line in log.lines if line.kind in ("error", "oom")]
    return "\n".join(errors[-5:])


def _stop(work: Work) -> None:
    """End the process group: an interrupt first, force after a while. These trainers save nothing
    on the way out; the run goes on from its newest file."""
    pid, _ = _running(work)
    if pid is None:
        return
    for number, patience in ((signal.SIGINT, PATIENCE_S), (signal.SIGKILL, 2.0)):
        try:
            os.killpg(pid, number)
        except (ProcessLookupError, PermissionError):
            break
        until = time.monotonic() + patience
        while _start_time(pid) is not None and time.monotonic() < until:
            time.sleep(0.1)
        if _start_time(pid) is None:
            break
    _note_process(work, "stopped", None)
