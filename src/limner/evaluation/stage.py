"""The stage: choose on one set of seeds, claim on another, every picture made and scored once.

In: a project with a trained run and prompts that were not trained on. Out: pictures in
renders/grid_<v>/, journaled before they are drawn, and their scores. A killed evaluation goes on
where it was: a picture that is on disk is never drawn again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from limner import vision
from limner.errors import InputError, LimnerError
from limner.evaluation import choose as choosing
from limner.evaluation import ground as grounds
from limner.evaluation import judging
from limner.evaluation.choose import BASE, Arm, Choice, Judged
from limner.evaluation.grid import EvalPrompt, GridPlan, all_arms, make_plan, newest_run
from limner.evaluation.grid import resume_or_add as find_grid
from limner.evaluation.ground import Ground
from limner.events import Event, Events, Notice, Result, Ticker
from limner.project import Project, files
from limner.project.records import Render
from limner.render import Cell, Settings, picture_sha256, png_bytes

if TYPE_CHECKING:
    from limner.models import BaseInfo

RGB8 = NDArray[np.uint8]


class Renderer(Protocol):
    """What draws cells: `limner.render.DiffusersRenderer`, or any other server of pictures."""

    def pictures(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, RGB8]]:
        """Each cell with its uint8 picture, in any order."""
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...


OpenRenderer = Callable[[Settings, Sequence[RGB8]], Renderer]


def evaluate(
    project: Project,
    *,
    prompts: Sequence[EvalPrompt],
    control: Path | None = None,
    open_renderer: OpenRenderer | None = None,
) -> Events:
    """Render and score checkpoints, base and control; Result: what was drawn and chosen.

    control: LoRA of another character; default `evaluation.control`, else the one that ships with
    the base, else none. open_renderer: another renderer than diffusers. Raises NotReadyError
    without checkpoints or held-out references, InputError for changed files or unusable prompts,
    UsageError when another process evaluates here.
    """
    with project.exclusive("evaluation"):
        yield from _evaluate(project, list(prompts), control, open_renderer)


def _evaluate(
    project: Project,
    prompts: list[EvalPrompt],
    control: Path | None,
    open_renderer: OpenRenderer | None,
) -> Events:
    from limner.models import resolve_base

    run, dataset, _ = newest_run(project)
    config = run.config.get("run", run.config)
    training = project.character.training
    info = resolve_base(str(config.get("base") or training.base))
    _same_base(info, config)
    template = str(config.get("template") or training.template)
    ground: Ground | None = None
    for event in grounds.prepare(project, dataset, info, prompts, project.folder("renders")):
        if isinstance(event, Ground):
            ground = event
        else:
            yield event
    assert ground is not None
    usable, excluded = grounds.usable_prompts(prompts, ground)
    if excluded:
        yield Notice(f"{len(excluded)} prompts are left out: {excluded[0]['reason']}.")
    references = _reference_pictures(project, ground, info, template)
    plan = make_plan(
        project,
        prompts=usable,
        excluded=excluded,
        info=info,
        template=template,
        precision=_precision(),
        references=picture_sha256(references),
        judge=ground.record(),
        strangers=ground.strangers.n,
        control=control or _control(project, info),
    )
    version = find_grid(project, plan)
    work = _Work(project, plan, version, ground, references, open_renderer or _diffusers(info))
    try:
        choice = yield from _choose(work)
        arms = [choice.chosen, *all_arms(plan)]
        yield from work.make("claim", arms, plan.claim_cells, "claiming")
        silent = replace(choice.chosen, kind="untriggered")
        yield from work.make("claim", [silent], plan.untriggered_cells, "without the trigger")
    finally:
        work.close()
    drawn = project.store.renders(version)
    project.store.log("evaluation", "grid", version=version, pictures=len(drawn))
    yield Result(
        {
            "grid": version,
            "run": run.version,
            "pictures": len(drawn),
            "drawn_now": work.drawn,
            "choose": len([r for r in drawn if r.phase == "choose"]),
            "claim": len([r for r in drawn if r.phase == "claim"]),
            "chosen": {"checkpoint": choice.chosen.name, "strength": choice.chosen.strength},
            "excluded": excluded,
        }
    )


def _same_base(info: BaseInfo, config: Mapping[str, Any]) -> None:
    """Raise InputError when the base is not the one the LoRA was trained on."""
    trained_on = config.get("base_fingerprint")
    if trained_on and trained_on != info.fingerprint:
        raise InputError(
            "The base model is not the one this run was trained on",
            where=f"{info.name}: {info.fingerprint[:12]}, run: {str(trained_on)[:12]}",
            fix="Restore the base, or train again on this one.",
        )


def _precision() -> str:
    """As `open_base` runs it: bf16 on a GPU, fp32 on a CPU."""
    from limner.models import runtime

    runtime.prepare()
    import torch

    return "bf16" if torch.cuda.is_available() else "fp32"


def _control(project: Project, info: BaseInfo) -> Path | None:
    named = project.character.evaluation.control
    if named:
        path = Path(named).expanduser()
        return path if path.is_absolute() else project.root / path
    return grounds.shipped_control(info)


def _reference_pictures(
    project: Project, ground: Ground, info: BaseInfo, template: str
) -> list[RGB8]:
    """For the edit template: one front picture that was trained on. The held-out ones judge, so
    they may not be shown to the model."""
    if template != "edit" or not ground.gallery:
        return []
    front = [t for t in ground.gallery if t.labels.get("angle") == "front"] or ground.gallery
    return [grounds.at_size(project, front[0], info.resolution)]


def _diffusers(info: BaseInfo) -> OpenRenderer:
    def start(settings: Settings, references: Sequence[RGB8]) -> Renderer:
        from limner.models import open_base
        from limner.render import DiffusersRenderer

        return DiffusersRenderer(open_base(info), settings, references)

    return start


def _choose(work: _Work) -> Generator[Event, None, Choice]:
    """Base first (it makes the threshold), then halving; returns the `Choice`."""
    plan = work.plan
    limits = plan.data["limits"]
    if plan.calibrate_cells:
        yield from work.make("calibrate", [BASE], plan.calibrate_cells, "drawing strangers")
    yield from work.make("choose", [BASE], plan.choose_cells, "base model")
    rounds = choosing.rounds(
        len(plan.arms),
        len(plan.choose_cells),
        int(limits["first_look"]),
        int(limits["finalists"]),
    )
    arms = list(plan.arms)
    for number, (keep, seen) in enumerate(rounds, start=1):
        judged = work.judged("choose", arms)
        if number > 1 and not judged:  # no stranger to set a threshold by: nothing to choose on
            break
        if number > 1:
            arms = choosing.survivors(judged, keep, limits)
        task = f"choosing, round {number} of {len(rounds)}: {len(arms)} arms"
        yield from work.make("choose", arms, plan.choose_cells[:seen], task)
    return settle(work.judged("choose", plan.arms), plan.arms, limits)


def settle(judged: Sequence[Judged], arms: Sequence[Arm], limits: dict[str, float]) -> Choice:
    """The choice, or the only arm when there was nothing to choose."""
    if judged:
        return choosing.choose(judged, limits)
    return Choice(arms[0], arms[0], [], [], 0)


class _Work:
    """Drawing and scoring of one grid; the model is opened when the first picture is missing."""

    def __init__(
        self,
        project: Project,
        plan: GridPlan,
        version: int,
        ground: Ground,
        references: Sequence[RGB8],
        open_renderer: OpenRenderer,
    ) -> None:
        self.plan, self.version, self.ground = plan, version, ground
        self.drawn = 0
        self._project, self._references = project, list(references)
        self._open, self._renderer = open_renderer, None
        self._folder = project.folder("renders") / f"grid_{version}"
        self._tag = files.sha256_bytes(files.canonical_json(ground.record()).encode())[:16]

    _renderer: Renderer | None

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()

    def make(
        self, phase: str, arms: Sequence[Arm], cells: Sequence[tuple[str, int]], task: str
    ) -> Iterator[Event]:
        """Journal the cells, draw what is missing, score what is not scored."""
        store = self._project.store
        rows = list(self.plan.rows(phase, arms, cells))
        if not rows:
            return
        store.add_renders(self.version, (row for row, _ in rows))
        wanted = {row["key"]: cell for row, cell in rows}
        renders = [r for r in store.renders(self.version) if r.key in wanted]
        missing = {r.key: r for r in renders if not self._is_there(r)}
        ticker = Ticker(task, len(renders), already=len(renders) - len(missing))
        for render in renders:
            if render.key not in missing:
                self._score(render, None)
        for cell, picture in self._pictures([wanted[key] for key in missing]):
            render = missing[cell.key(self.plan.render)]
            self._keep(render, picture)
            self._score(render, picture)
            self.drawn += 1
            yield ticker.tick()
        if not missing:
            yield ticker.tick(0)

    def _pictures(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, RGB8]]:
        if not cells:
            return
        if self._renderer is None:
            self._renderer = self._open(self.plan.render, self._references)
        yield from self._renderer.pictures(cells)

    def _file(self, render: Render) -> Path:
        return self._folder / f"{render.key}.png"

    def _is_there(self, render: Render) -> bool:
        """Done, or found on disk: here after a kill, or in an older grid under the same key."""
        path = self._file(render)
        if render.state == "done" and path.is_file():
            return True
        candidates = [path, *sorted(self._folder.parent.glob(f"grid_*/{render.key}.png"))]
        for candidate in candidates:
            try:
                vision.open_picture(candidate)
            except LimnerError:
                continue
            if candidate != path:
                files.write_bytes(path, candidate.read_bytes())
            self._done(render, path)
            return True
        return False

    def _keep(self, render: Render, picture: RGB8) -> None:
        facts = {"key": render.key, "prompt": render.prompt, "seed": render.seed}
        path = self._file(render)
        files.write_bytes(path, png_bytes(picture, facts))
        self._done(render, path)

    def _done(self, render: Render, path: Path) -> None:
        self._project.store.update_render(
            render.id,
            state="done",
            path=self._project.relative(path),
            sha256=files.sha256_file(path),
        )

    def _score(self, render: Render, picture: RGB8 | None) -> None:
        store = self._project.store
        face = store.scores(render.id).get("face")
        if face is not None and face.tool == self._tag:
            return
        if picture is None:
            picture = vision.open_picture(self._file(render))
        seen = self.ground.judge.look(picture)
        store.put_scores(
            render.id,
            [*self.ground.judge.measures(seen, self._tag), self.ground.copy_measure(picture)],
        )

    def judged(self, phase: str, arms: Sequence[Arm]) -> list[Judged]:
        """Scored pictures of a phase as the statistics want them; keeps the calibration."""
        found = judging.calibrate(self._project, self.version, self.plan, self.ground)
        judging.write(found, self._folder)
        scored = judging.read_scores(self._project, self.version, phase)
        return judging.judge(scored, found, arms, self.plan.data["limits"]["copy_bits"])
