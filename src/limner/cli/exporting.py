"""Commands that hand a dataset to another trainer and take it back: dataset export, import."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.making import dataset_app
from limner.cli.shell import command, placed, project, screen
from limner.cli.show import Answer


@command(dataset_app, "export")
def dataset_export(
    target: Annotated[
        str,
        typer.Option(
            "--for",
            help="ai-toolkit, musubi, simpletuner, kohya, diffusers, fal, replicate or civitai",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="Folder or zip to write  [default: exports/ of the project]")
    ] = None,
    source: Annotated[
        Path | None,
        typer.Option("--from", help="Anyone's folder or zip instead of the project's dataset"),
    ] = None,
    version: Annotated[int | None, typer.Option(min=1, help="Dataset  [default: newest]")] = None,
    trigger: Annotated[
        str | None, typer.Option(help="With --from: the trigger word, if captions do not open so")
    ] = None,
    control: Annotated[
        str,
        typer.Option(help="References: none, blank or self  [default: as training says]"),
    ] = "",
    control_size: Annotated[
        int, typer.Option(help="Side of a reference: 512 or 1024; 0 = as training says")
    ] = 0,
    base: Annotated[str, typer.Option(help="Base model's Hugging Face id")] = "",
    steps: Annotated[int, typer.Option(min=0, help="The trainer's steps; 0 = advised")] = 0,
    place: Annotated[
        str, typer.Option("--root", help="Where the folder will lie on the training machine")
    ] = "",
) -> Answer:
    """Write the dataset in a trainer's layout, with its own configs, known faults avoided."""
    from limner.pipeline.handover import export_dataset

    here = project() if source is None else None
    found = screen().run(
        export_dataset(
            here,
            target,
            out,
            source=source,
            version=version,
            trigger=trigger,
            control=control,
            control_size=control_size,
            base=base,
            steps=steps,
            root=place,
        )
    )
    lines = [f"{found['target']}: {found['path']}"]
    lines += [f"  {g['name']}: {g['images']} pictures x {g['repeats']}" for g in found["groups"]]
    lines += _run_lines(found["run"])
    if source is None and here and here.character.likeness == "consented_person":
        lines.append("It shows a real person: send it only where their consent reaches.")
    return Answer(found, [*lines, *_start_lines(found["target"], found["path"], moved=bool(place))])


STARTS = {
    "ai-toolkit": "python ~/ai-toolkit/run.py train.yaml",
    "musubi": "bash train.sh",
    "diffusers": "bash train.sh",
}
"""What starts a trainer in an export's folder, where one command does."""


def _start_lines(target: str, path: str, *, moved: bool) -> list[str]:
    """How to go on with the folder; nothing where it lies on another machine, or is a zip."""
    if target not in STARTS or moved:
        return []
    watched = shlex.quote(f"{path}/output")
    return [
        "",
        f"next: cd {shlex.quote(path)} && {STARTS[target]}",
        f"      It trains here; `limner watch {watched}` looks at it.",
    ]


def _run_lines(run: dict[str, Any] | None) -> list[str]:
    if run is None:
        return []
    return [
        f"its configs train {run['base']}, {run['logged_steps']} steps, "
        f"{run['image_passes']} passes, {len(run['checkpoints'])} checkpoints, all kept",
        *(f"note: {text}" for text in run["notes"]),
    ]


@command(dataset_app, "import")
def dataset_import(
    path: Annotated[Path, typer.Argument(help="Folder or zip of any trainer's layout")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say it, change nothing")] = False,
) -> Answer:
    """Bring captions home that were edited outside; pictures are recognised by their bytes."""
    from limner import dataset

    found = screen().run(dataset.import_dataset(project(), placed(path), dry_run=dry_run))
    verb = "would change" if dry_run else "changed"
    lines = [f"{found['target']}: {found['pictures']} pictures, {len(found['captions'])} captions "
             f"{verb}"]  # fmt: skip
    lines += [f"  {row['file']}: {row['now']}" for row in found["captions"][:10]]
    if unknown := found["unknown"]:
        lines.append(f"{len(unknown)} pictures are of no take ({unknown[0]}): limner inbox {path}")
    if found["missing"]:
        lines.append(f"{len(found['missing'])} takes of the newest dataset are not in it")
    lines += [f"passed over: {name} ({why})" for name, why in found["passed_over"][:5]]
    return Answer(found, lines)
