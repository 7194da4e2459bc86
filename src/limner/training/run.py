"""A run from its journal line to its last checkpoint, resumable at any moment.

In: a project with a plan. Out: models/run_<n>/step_*.safetensors, logs/run_<n>/, records.
A kill loses at most the steps since the last state; run again, and the final weights are the same
bytes as without the kill.
"""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import InputError, LimnerError, WorkFailedError
from limner.events import Event, Events, Notice, Result, Ticker
from limner.models import lora, resolve_base
from limner.project import Project
from limner.project.records import Checkpoint, Dataset, Run
from limner.training import arithmetic, data, metrics, prepare, stamp, state, timing
from limner.training.config import RunConfig
from limner.training.planning import current_plan, pace_folder, plan
from limner.training.samples import Sampler
from limner.training.trainer import Example, Trainer

if TYPE_CHECKING:
    from limner.models import Base

SHOW_EVERY_S = 0.2
SMOOTHED_STEPS = 50


@dataclass
class Work:
    """Everything one run holds while it works."""

    project: Project
    run: Run
    config: RunConfig
    dataset: Dataset
    train: list[data.Picture]
    held_out: list[data.Picture]
    base: Base
    models: Path
    logs: Path
    header: dict[str, str]
    sampler: Sampler | None = None


def train(project: Project, *, resume: bool = True, stop_after: int | None = None) -> Events:
    """Train by the newest plan (made here when there is none that fits), or go on with its run.

    resume: False starts a new run. stop_after: stop after so many updates of this call; the run
    can be taken up later. Ends in Result({run, state, checkpoints, seconds, path}). Raises
    NotReadyError (no dataset), InputError (picture, base, plan), WorkFailedError (disk full, loss
    not finite); what is done stays done.
    """
    with project.exclusive("training"):
        began = time.monotonic()
        found = current_plan(project)
        if found is None:
            yield Notice("No plan fits the dataset and settings of now; planning first.")
            plan(project)
            found = current_plan(project)
        if found is None:
            raise InputError("The plan does not fit the dataset", fix="Run `limner plan` again.")
        config = RunConfig.from_json(found.data["config"])
        run = project.store.run()
        same = run is not None and run.config.get("sha256") == config.sha256()
        if run is not None and same and resume and run.state == "done":
            project.store.update_run(run.version, plan_version=found.version)
            yield Notice(f"Run {run.version} is done already; `--fresh` starts another.")
            yield Result(_summary(project, run, 0.0))
            return
        if run is not None and same and resume:
            config = RunConfig.from_json(run.config["run"])
            yield Notice(f"Going on with run {run.version}.")
        else:
            run = _journal(project, found.version, found.dataset_version, config)
        project.store.update_run(
            run.version, state="running", error=None, plan_version=found.version
        )
        yield from _guarded(project, run, config, stop_after, began)


def _journal(project: Project, plan_version: int, dataset_version: int, config: RunConfig) -> Run:
    """Write the run down before anything of it exists."""
    last = project.store.run()
    number = last.version + 1 if last else 1
    version = project.store.add_run(
        plan_version=plan_version,
        dataset_version=dataset_version,
        trainer="native",
        state="running",
        config={"sha256": config.sha256(), "run": config.as_json()},
        path=f"models/run_{number}",
        error=None,
        finished_at=None,
    )
    run = project.store.run(version)
    assert run is not None
    return run


def _guarded(
    project: Project, run: Run, config: RunConfig, stop_after: int | None, began: float
) -> Events:
    """The run, with its end written down whatever happens."""
    try:
        finished = yield from _work(project, run, config, stop_after)
    except (KeyboardInterrupt, GeneratorExit):
        project.store.update_run(run.version, state="stopped")
        raise
    except BaseException as error:
        project.store.update_run(run.version, state="failed", error=str(error))
        raise
    seconds = time.monotonic() - began
    project.store.update_run(run.version, state="done" if finished else "stopped")
    project.store.log("training", "run", run=run.version, seconds=round(seconds, 1))
    now = project.store.run(run.version)
    yield Result(_summary(project, now or run, seconds))


def _summary(project: Project, run: Run, seconds: float) -> dict[str, Any]:
    points = project.store.checkpoints(run.version)
    return {
        "run": run.version,
        "state": run.state,
        "path": run.path,
        "checkpoints": [
            {
                "step": point.step,
                "path": point.path,
                "sha256": point.sha256,
                "label": point.data.get("label"),
                "held_out_loss": point.data.get("held_out_loss"),
            }
            for point in points
        ],
        "seconds": round(seconds, 1),
    }


def _work(
    project: Project, run: Run, config: RunConfig, stop_after: int | None
) -> Generator[Event, None, bool]:
    """Everything between the journal line and the end; True when the last step was reached."""
    dataset = project.store.dataset(run.dataset_version)
    if dataset is None:
        raise InputError(f"Dataset {run.dataset_version} is gone", where=str(project.root))
    pictures, held_out = data.read_dataset(project, dataset)
    if data.data_sha256(pictures, held_out) != config.data_sha256:
        raise InputError(
            "The training folder changed since this run began",
            where=str(project.path(dataset.path)),
            fix="Run `limner dataset build`, then `limner plan` and `limner train`.",
        )
    models = project.folder("models") / f"run_{run.version}"
    logs = project.folder("logs") / f"run_{run.version}"
    _sweep(models, logs, project.root / ".limner" / "cache")
    held_out = held_out[: int(config.values["held_out_pictures"])]
    yield Notice(f"Opening the base {stamp.public_name(config.base)}.")
    base = _open(config)
    work = Work(
        project, run, config, dataset, pictures, held_out, base, models, logs,
        stamp.header(
            project, run, dataset, config, [p.caption for p in pictures], Path(base.info.path)
        ),
    )  # fmt: skip
    trainer = yield from _ready(work)
    finished = yield from _steps(work, trainer, stop_after)
    return finished


def _sweep(*folders: Path) -> None:
    """Remove temp files of killed processes; none is alive while we hold the stage's lock."""
    for folder in folders:
        for part in folder.rglob(".*.part"):
            part.unlink(missing_ok=True)


def _open(config: RunConfig) -> Base:
    """The base of the record, with its device and threads. Raises InputError when it changed."""
    from limner.models import open_base

    info = resolve_base(config.base)
    if info.fingerprint != config.base_fingerprint:
        raise InputError(
            "The base model changed since this run was planned",
            where=stamp.public_name(config.base),
            fix="Run `limner plan` and start a new run.",
        )
    import torch

    torch.set_num_threads(config.threads)
    return open_base(info, device=config.device)


def _ready(work: Work) -> Generator[Event, None, Trainer]:
    """Encode what is not cached, free the encoders, add the LoRA; the trainer."""
    config = work.config
    cache = prepare.Cache(work.project.root / ".limner" / "cache", config.base_fingerprint)
    encoder = prepare.Encoder(work.base, cache, config.template, config.resolution)
    into: tuple[list[Example], list[Example]] = ([], [])
    yield from prepare.examples(
        encoder,
        work.train,
        work.held_out,
        each=int(config.values["references_each"]),
        seed=config.seed,
        into=into,
    )
    if config.samples:
        prompts = [*work.held_out, *work.train]
        work.sampler = Sampler(work.base, config, prompts, work.train[0])
    else:
        work.base.release_encoders()
    groups = data.buckets(work.train, config.resolution)
    trainer = Trainer(work.base, config, into[0], groups, into[1])
    _check_disk(work, sum(p.numel() for p in trainer.weights.values()))
    return trainer


def _check_disk(work: Work, parameters: int) -> None:
    """Raise WorkFailedError when the disk cannot hold what the run will write."""
    work.models.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(work.models).free
    value = 4 if work.config.device == "cpu" else 2
    needed = arithmetic.disk_bytes(parameters, len(work.config.checkpoints), value)
    if free < needed:
        raise WorkFailedError(
            f"The run needs {needed / 1e6:.0f} MB of disk, {free / 1e6:.0f} MB are free",
            where=str(work.models),
            fix="Free some space and run the same command again.",
        )


def _steps(work: Work, trainer: Trainer, stop_after: int | None) -> Generator[Event, None, bool]:
    """All updates from the last state on; True when the last one was reached."""
    config = work.config
    place = work.models / state.FILE
    done = state.load(
        place, config_sha256=config.sha256(), weights=trainer.weights, optimizer=trainer.optimizer
    )
    last = min(config.steps, done + stop_after) if stop_after else config.steps
    marks = {m.step: m for m in arithmetic.checkpoint_marks(config.steps, len(config.checkpoints))}
    log = metrics.Metrics(work.logs, done)
    ticker = Ticker("training", config.steps, already=done)
    saved_at = shown_at = time.monotonic()
    recent: list[float] = []
    paces: list[float] = []
    held_seconds = 0.0
    whole = True  # False while an update is under way: then the state must not be written

    def save() -> None:
        state.save(
            place, step=done, config_sha256=config.sha256(), weights=trainer.weights,
            optimizer=trainer.optimizer,
        )  # fmt: skip

    try:
        if done == 0:
            began = time.monotonic()
            _held_out(trainer, log, 0)
            held_seconds = time.monotonic() - began
        while done < last:
            whole = False
            began = time.monotonic()
            result = trainer.step(done + 1)
            paces.append(time.monotonic() - began)
            if not result.finite:
                raise _not_finite(result.step, work)
            done += 1
            whole = True
            log.add(
                done,
                loss=result.loss,
                grad_norm=result.grad_norm,
                learning_rate=result.learning_rate,
            )
            recent = [*recent[-SMOOTHED_STEPS + 1 :], result.loss]
            if done in marks:
                _checkpoint(work, trainer, log, marks[done])
            if done in marks or time.monotonic() - saved_at > config.values["state_every_s"]:
                save()
                saved_at = time.monotonic()
            event = ticker.tick(note=f"loss {sum(recent) / len(recent):.3f}")
            if time.monotonic() - shown_at > SHOW_EVERY_S or done in (last, *marks):
                shown_at = time.monotonic()
                yield event
        save()
        _remember_pace(work, paces, held_seconds)
    except (KeyboardInterrupt, GeneratorExit):
        if whole:
            save()
        raise
    finally:
        log.close()
    return done == config.steps


def _remember_pace(work: Work, paces: list[float], held_out: float) -> None:
    """Keep a pace for the next plan where no timing was made (a base too large to load for it)."""
    name = timing.key(work.config)
    if len(paces) > 1 and timing.read(pace_folder(work.project), name) is None:
        step = statistics.median(paces[1:])  # the first one compiles and allocates
        pace = timing.Pace(step, held_out, None, "run")
        timing.write(pace_folder(work.project), name, pace)


def _not_finite(step: int, work: Work) -> LimnerError:
    return WorkFailedError(
        f"The loss or its gradient is no longer a finite number at step {step}",
        where=f"run {work.run.version}",
        fix="Lower training.learning_rate, or set training.precision to fp32; checkpoints and "
        "state before this step are good.",
    )


def _held_out(trainer: Trainer, log: metrics.Metrics, step: int) -> dict[str, Any]:
    found = trainer.held_out_loss()
    if found is None:
        return {"held_out_loss": None, "reason": "the dataset holds no picture out"}
    values = {"held_out_loss": found.loss, "held_out_by_sigma": found.by_sigma}
    log.add(step, **values, held_out_pictures=found.pictures)
    return values


def _checkpoint(work: Work, trainer: Trainer, log: metrics.Metrics, mark: arithmetic.Mark) -> None:
    """File, measures, record. Written again after a kill: the same bytes."""
    path = work.models / f"step_{mark.step:06d}.safetensors"
    weights = {name: p.detach().float().cpu().numpy() for name, p in trainer.weights.items()}
    # a LoRA is as precise as the base it is added to: fp32 on a CPU, bf16 on a GPU
    dtype = "F32" if work.config.device == "cpu" else "BF16"
    sha256 = lora.save(path, weights, stamp.at_step(work.header, mark.step), dtype=dtype)
    measured = _held_out(trainer, log, mark.step)
    if work.sampler is not None:
        work.sampler.draw(work.logs / "samples", mark.step)
    rows = [r["loss"] for r in metrics.read(log.path) if "loss" in r and r["step"] <= mark.step]
    step_losses = rows[-(work.config.steps // len(work.config.checkpoints)) :]
    work.project.store.put_checkpoint(
        Checkpoint(
            run_version=work.run.version,
            step=mark.step,
            path=work.project.relative(path),
            sha256=sha256,
            data={
                "label": mark.label,
                "rank": work.config.rank,
                "loss": sum(step_losses) / len(step_losses),
                **measured,
            },
        )
    )
