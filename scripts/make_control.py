"""Train the control that ships with a base: a LoRA of another drawn character.

    python scripts/make_control.py [--base miniature] [--work FOLDER] [--out FOLDER]

Walks the stages of a project by the name of Nova up to one checkpoint, on the very code that users
run, and copies it to limner/evaluation/data/control_<fingerprint>.safetensors. An evaluation draws
it beside the user's LoRA: what matches there, matches by accident. Killed, it goes on in `--work`.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from limner import captions, dataset, training
from limner.events import Events, Notice, Progress, Result
from limner.models import resolve_base
from limner.pipeline import wiring
from limner.project import Project

SHIPPED = Path("src/limner/evaluation/data")
DESCRIPTION = (
    "a woman in her forties with short black hair, brown eyes, dark brown skin and a round face"
)


def say(events: Events) -> object:
    """Run a stage and say on stderr what it says."""
    value = None
    for event in events:
        if isinstance(event, Result):
            value = event.value
        elif isinstance(event, Notice):
            print(event.text, file=sys.stderr, flush=True)
        elif isinstance(event, Progress) and event.done == event.total:
            print(f"{event.task}: {event.done}", file=sys.stderr, flush=True)
    return value


def open_project(root: Path, base: str, size: int, count: int) -> Project:
    """The project in `--work`, made when it is not there."""
    if (root / "character.yaml").exists():
        return Project.open(root)
    project = Project.create(
        root,
        name="Nova",
        trigger="nova_char",
        class_word="woman",
        likeness="synthetic",
        description=DESCRIPTION,
    )
    project.change_character(
        shots__count=count, source__size=size, training__base=base, training__checkpoints=1
    )
    return project


def main() -> None:
    """See the module's note."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", default="miniature")
    parser.add_argument("--work", type=Path, default=Path("control-work"))
    parser.add_argument("--out", type=Path, default=SHIPPED)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--count", type=int, default=24)
    options = parser.parse_args()
    info = resolve_base(options.base)
    project = open_project(options.work, options.base, options.size, options.count)
    store = project.store
    if not store.shots():
        say(wiring.plan_shots(project))
    stages: list[Callable[[Project], Events]] = [wiring.generate, wiring.review, captions.compile]
    for stage in stages:
        say(stage(project))
    if store.dataset() is None:
        say(dataset.build(project))
    if store.plan() is None:
        training.plan(project)
    say(training.train(project))
    run = store.run()
    last = store.checkpoints(run.version)[-1] if run else None
    if last is None:
        sys.exit("the run gave no checkpoint")
    out = options.out / f"control_{info.fingerprint[:16]}.safetensors"
    out.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(project.path(last.path), out)
    print(f"{out} ({out.stat().st_size / 1e6:.1f} MB, step {last.step})")


if __name__ == "__main__":
    main()
