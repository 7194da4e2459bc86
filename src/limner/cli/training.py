"""The command that trains: start, go on, stop, pause, extend; or take what others trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shell import app, command, project, screen
from limner.cli.show import Answer
from limner.errors import UsageError


@command(app, "train")
def train(
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Go on with a stopped or paused run (done anyway)"),
    ] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Start a new run instead of going on with a stopped one")
    ] = False,
    stop_after: Annotated[
        int | None, typer.Option(min=1, help="Stop after so many optimizer steps; go on later")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="A later end for the run, also for a finished one")
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop", help="Ask the run at work here to save and stop")
    ] = False,
    pause: Annotated[
        bool, typer.Option("--pause", help="Ask the run at work here to save and wait")
    ] = False,
    peer: Annotated[
        str, typer.Option("--with", help="native, or another trainer: ai-toolkit, musubi")
    ] = "native",
    home: Annotated[
        Path | None, typer.Option(help="--with: the trainer's folder (or AI_TOOLKIT_HOME, ...)")
    ] = None,
    python: Annotated[
        str | None, typer.Option(help="--with: the Python of its own environment")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="--with musubi: dit=FILE, vae=FILE, text_encoder=FILE", metavar="K=FILE"),
    ] = None,
    control: Annotated[
        str,
        typer.Option(help="--with: references: none, blank, self  [default: as training says]"),
    ] = "",
    control_size: Annotated[
        int, typer.Option(help="--with: side of a reference: 512 or 1024; 0 = as training says")
    ] = 0,
    base: Annotated[str, typer.Option(help="--with: base model's Hugging Face id")] = "",
    take: Annotated[
        list[Path] | None,
        typer.Option(
            help="Take a LoRA that was trained elsewhere: a file or a folder (may be repeated)",
            metavar="PATH",
        ),
    ] = None,
) -> Answer:
    """Train the LoRA by the newest plan; a stopped run goes on where it was.

    Ctrl-C finishes the step, saves and stops. With --take nothing is trained: the files become a
    finished run, for evaluate, verdict and release.
    """
    if sum([resume, fresh, stop, pause]) > 1:
        raise UsageError(
            "--resume, --fresh, --stop and --pause exclude each other", fix="Give one of them."
        )
    others = _given(home=home, python=python, weights=weights, control=control, base=base)
    others += _given(control_size=control_size)
    ours = _given(stop=stop, pause=pause, stop_after=stop_after)
    if take:
        named = ["--with"] if peer != "native" else []
        return _take(take, [*named, *others, *ours, *_given(resume=resume, steps=steps)], fresh)
    _refuse_the_unheard(peer, others, ours)
    here = project()
    if peer != "native":
        given = dict(pair.partition("=")[::2] for pair in weights or [])
        return _with_another(
            here,
            peer,
            resume=not fresh,
            home=home,
            python=python,
            weights=given,
            control=control,
            control_size=control_size,
            base=base,
            steps=steps or 0,
        )
    if stop or pause or resume:
        asked = _ask_the_run(here, "stop" if stop else "pause" if pause else None)
        if asked is not None:
            return asked
    from limner import training

    found = screen().run(training.train(here, resume=not fresh, stop_after=stop_after, steps=steps))
    return Answer(found, _lines(found))


def _given(**options: Any) -> list[str]:
    return [f"--{name.replace('_', '-')}" for name, value in options.items() if value]


def _refuse_the_unheard(peer: str, others: list[str], ours: list[str]) -> None:
    """Hours are not spent on a training that would pass over what was asked for."""
    if peer == "native" and others:
        raise UsageError(
            f"{others[0]} means nothing to Limner's own trainer",
            fix="Name the trainer with --with, or leave it out: `training` of character.yaml "
            "says how Limner trains.",
        )
    if peer != "native" and ours:
        from limner.dataset import layout_named

        layout_named(peer, "--with")  # a name that nobody knows comes first
        raise UsageError(
            f"{ours[0]} means nothing to {peer}",
            fix="Stop its run with Ctrl-C; the same command goes on from its last checkpoint.",
        )


def _with_another(here: Any, trainer: str, **wishes: Any) -> Answer:
    """Train with ai-toolkit or musubi-tuner, in its own environment."""
    from limner.pipeline.handover import train_with

    found = screen().run(train_with(here, trainer, **wishes))
    lines = [f"run {found['run']} by {found['trainer']}: {found['state']}"]
    lines += [f"  {c['path']}  {c['label']}  ({c['file']})" for c in found["checkpoints"]]
    return Answer(found, lines)


def _take(paths: list[Path], unheard: list[str], fresh: bool) -> Answer:
    """Record LoRA files of another machine as a run of this project."""
    if unheard:
        raise UsageError(
            f"{unheard[0]} means nothing to --take: its training is over",
            fix="Leave it out; --fresh alone goes with it, and makes a run of its own.",
        )
    from limner.training.peers.adopting import take

    found = screen().run(take(project(), paths, fresh=fresh))
    count = len(found["checkpoints"])
    lines = [f"run {found['run']}, trained elsewhere: {count} checkpoint{'s' * (count != 1)}"]
    lines += [f"  {c['path']}  {c['label']}  ({c['file']})" for c in found["checkpoints"]]
    return Answer(found, [*lines, f"not known: {found['not_known']}"])


def _ask_the_run(here: Any, what: Any) -> Answer | None:
    """Tell a run at work in another process; None when `--resume` finds none at work."""
    from limner.pipeline.stages import held
    from limner.training import control

    if not held(here, "training"):
        if what is None:
            return None
        raise UsageError(
            "No training is at work in this project",
            where=str(here.root),
            fix="`limner status` shows what is.",
        )
    control.ask(here, what)
    said = {"stop": "asked to save and stop", "pause": "asked to save and wait", None: "going on"}
    return Answer({"asked": what or "resume"}, [f"the run at work: {said[what]}"])


def _lines(found: dict[str, Any]) -> list[str]:
    lines = [f"run {found['run']}: {found['state']}, {len(found['checkpoints'])} checkpoints"]
    from limner.training import heldout

    lines += [heldout.words(found["held_out"])] if found["held_out"] else []
    return lines + [f"changed on the way: {words}" for words in found["changes"]]
