"""A dataset handed to another trainer: its folder by the dataset stage, its configs by training.

In: a project, or anyone's folder, and a target. Out: events and a `Result`: where it lies, what the
run would amount to, what is to be known of that trainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner import dataset
from limner.events import Events, Result
from limner.project import Project

if TYPE_CHECKING:
    from limner.dataset.layouts import Layout
    from limner.project.settings import TrainingSettings


def export_dataset(
    project: Project | None,
    target: str,
    out: Path | None = None,
    *,
    source: Path | None = None,
    version: int | None = None,
    trigger: str | None = None,
    control: str = "",
    control_size: int = 0,
    base: str = "",
    steps: int = 0,
    root: str = "",
) -> Events:
    """Export a dataset version, or `source`, for a trainer, with its configs beside it.

    out: default `exports/v<version>-<target>` in the project (.zip for a service). base: a
    Hugging Face id; default `training.base` if the trainers know it, else Qwen-Image-Edit-2509.
    control, control_size: "" and 0 are those of `training` (template, control, control_size).
    root: where the folder will lie on the training machine. Result: that of `dataset.export` with
    `run`. Raises UsageError, InputError, NotReadyError.
    """
    from limner.errors import UsageError
    from limner.release.likeness import require_synthetic
    from limner.training import peers

    layout = dataset.layout_named(target)
    if source is not None:
        found = dataset.from_folder(source, trigger)
    elif project is not None:
        if layout.name == "civitai":
            require_synthetic(project, "Civitai")
        found = dataset.from_project(project, version)
    else:
        raise UsageError("There is nothing to export", fix="Give --from, or work in a project.")
    if out is None:
        if project is None:
            raise UsageError("Where shall it be written?", where="--out", fix="Give --out.")
        number = found.facts.get("dataset", "x")
        end = ".zip" if layout.zipped else ""
        out = project.root / "exports" / f"v{number}-{layout.name}{end}"
    settings = project.character.training if project is not None and source is None else None
    control, control_size = _references(settings, layout, control, control_size)
    if settings is not None and settings.base not in peers.BASES:
        settings = None  # of another base: its length and rate say nothing here
    about: dict[str, Any] = {}

    def configs(groups: list[dict[str, Any]]) -> Mapping[str, str]:
        setup = peers.decide(
            groups,
            peers.COUNTED_AS[layout.name],
            trigger=found.trigger,
            base=base or (settings.base if settings else _default(layout.name)),
            mode=control,
            control_size=control_size,
            steps=steps or (settings.steps if settings else 0),
            rank=settings.rank if settings else 16,
            rate=settings.learning_rate if settings else 0.0,
            schedule=settings.schedule if settings else "constant",
            checkpoints=settings.checkpoints if settings else 10,
            dropout=settings.caption_dropout if settings else 0.05,
            root=root,
        )
        if layout.name != "kohya":  # sd-scripts train no Qwen-Image: the layout is for others
            about.update(peers.about(setup))
        return peers.configs(layout.name, setup)

    for event in dataset.export(
        found,
        target,
        out,
        control=control,
        control_size=control_size,
        configs=None if layout.zipped else configs,
    ):
        if isinstance(event, Result):
            yield Result({**event.value, "run": about or None})
        else:
            yield event


def _references(
    settings: TrainingSettings | None, layout: Layout, control: str, size: int
) -> tuple[str, int]:
    """(mode, size) of the references: as asked, else as `training` says, else none."""
    own = "none"
    if settings is not None and settings.template == "edit" and layout.control:
        own = "self" if settings.control == "auto" else settings.control
    stated = settings.control_size if settings is not None else 0
    return control or own, size or (stated if stated in (512, 1024) else 1024)


def _default(layout: str) -> str:
    from limner.training import peers

    return "Qwen/Qwen-Image" if layout == "diffusers" else peers.DEFAULT_BASE


def train_with(
    project: Project,
    trainer: str,
    *,
    home: Path | None = None,
    python: str | None = None,
    weights: Mapping[str, str] | None = None,
    control: str = "",
    control_size: int = 0,
    base: str = "",
    steps: int = 0,
    resume: bool = True,
) -> Events:
    """Train with ai-toolkit or musubi-tuner in its own environment: export, run, records.

    Result: {run, trainer, state, checkpoints, seconds, path}. Raises UsageError (trainer not
    found, impossible wishes), WorkFailedError (it failed; its last words).
    """
    from limner.errors import InputError, UsageError
    from limner.models import resolve_base
    from limner.training import peers
    from limner.training.peers import homes, running

    layout = dataset.layout_named(trainer, "--with")
    name = peers.COUNTED_AS.get(layout.name, layout.name)
    settings = project.character.training
    control, control_size = _references(settings, layout, control, control_size)
    where = homes.find(
        name, folder=home, python=python, weights=weights, settings=settings.trainers
    )
    found = dataset.from_project(project)
    number = found.facts["dataset"]
    shown = f"{control}{control_size}" if control != "none" else "plain"
    out = project.root / "exports" / f"v{number}-{layout.name}-{shown}"
    known = settings.base in peers.BASES
    made: list[peers.Setup] = []

    def configs(groups: list[dict[str, Any]]) -> Mapping[str, str]:
        setup = peers.decide(
            groups,
            name,
            trigger=found.trigger,
            base=base or (settings.base if known else peers.DEFAULT_BASE),
            mode=control,
            control_size=control_size,
            steps=steps or (settings.steps if known else 0),
            rank=settings.rank,
            rate=settings.learning_rate if known else 0.0,
            schedule=settings.schedule,
            checkpoints=settings.checkpoints,
            keep=settings.keep or None,
            dropout=settings.caption_dropout,
            root=str(out.resolve()),
        )
        made.append(setup)
        return peers.configs(layout.name, setup)

    for event in dataset.export(
        found, layout.name, out, control=control, control_size=control_size, configs=configs
    ):
        if not isinstance(event, Result):
            yield event
    if not made:
        raise UsageError(
            "There is nothing to train on",
            where=str(project.root),
            fix="Build the dataset first: limner dataset build.",
        )
    try:
        fingerprint: str | None = resolve_base(made[0].base.name).fingerprint
    except InputError:
        fingerprint = None  # the trainer fetches the base itself
    yield from running.run(
        project,
        made[0],
        out,
        where,
        dataset_version=int(number),
        resume=resume,
        fingerprint=fingerprint,
    )
