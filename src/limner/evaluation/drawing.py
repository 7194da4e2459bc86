"""Drawing and scoring of one grid: every picture journaled before it is made, and made once.

In: a plan, its grid's version, the ground to judge by, a renderer to open. Out: PNG files in
renders/grid_<v>/ and scores. The model is opened when the first picture is missing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from limner import vision
from limner.errors import LimnerError
from limner.evaluation import detail_file, details, judging
from limner.evaluation.arms import Arm, Judged
from limner.evaluation.grid import GridPlan
from limner.evaluation.ground import Ground
from limner.events import Event, Ticker
from limner.project import Project, files
from limner.project.records import Measure, Render
from limner.render import Cell, Settings, png_bytes

RGB8 = NDArray[np.uint8]


DETAILED_SEEDS = 2
"""Seeds a prompt whose pictures are read in detail; half as slow as recognising, so not all are."""


class Renderer(Protocol):
    """What draws cells: `limner.render.DiffusersRenderer`, or any other server of pictures."""

    def pictures(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, RGB8]]:
        """Each cell with its uint8 picture, in any order."""
        ...

    def close(self) -> None:
        """Let go of the model."""
        ...


class Rendering(Protocol):
    """A renderer that has settings of its own: it turns a grid's settings into those it draws
    under, so that its pictures never meet another renderer's."""

    def settings(self, settings: Settings) -> Settings:
        """The settings its pictures really have."""
        ...

    def open(self, settings: Settings, references: Sequence[RGB8]) -> Renderer:
        """Ready to draw."""
        ...


OpenRenderer = Callable[[Settings, Sequence[RGB8]], Renderer]


class Work:
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
        self.seconds = 0.0
        self._trained: details.Training | None = None
        self._older: dict[str, Render] | None = None
        self._project, self._references = project, list(references)
        self._open, self._renderer = open_renderer, None
        self._folder = project.folder("renders") / f"grid_{version}"
        self._tag = files.sha256_bytes(files.canonical_json(ground.record()).encode())[:16]

    _renderer: Renderer | None

    def close(self) -> None:
        if self._renderer is not None:
            self._renderer.close()

    def make(
        self,
        phase: str,
        arms: Sequence[Arm],
        cells: Sequence[tuple[str, int]],
        task: str,
        *,
        detailed: bool = False,
    ) -> Iterator[Event]:
        """Journal the cells, draw what is missing, score what is not scored. detailed: measure
        skin, light, background and framing too (of winner and base, the first seeds)."""
        store = self._project.store
        rows = list(self.plan.rows(phase, arms, cells))
        if not rows:
            return
        store.add_renders(self.version, (row for row, _ in rows))
        wanted = {row["key"]: cell for row, cell in rows}
        prompts = len({prompt for prompt, _ in cells})
        close = set(cells[: DETAILED_SEEDS * prompts]) if detailed else set()
        renders = [r for r in store.renders(self.version) if r.key in wanted]
        missing = {r.key: r for r in renders if not self._is_there(r)}
        ticker = Ticker(task, len(renders), already=len(renders) - len(missing))
        for render in renders:
            if render.key not in missing:
                self._score(render, None, (render.prompt_id, render.seed) in close)
        began = time.monotonic()
        for cell, picture in self._pictures([wanted[key] for key in missing]):
            render = missing[cell.key(self.plan.render)]
            self._keep(render, picture)
            self._score(render, picture, (render.prompt_id, render.seed) in close)
            self.drawn += 1
            self.seconds += time.monotonic() - began
            yield ticker.tick()
            began = time.monotonic()
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
        done = render.state == "done" and path.is_file()
        if done and files.sha256_file(path) == render.sha256:
            return True
        older = sorted(self._folder.parent.glob(f"grid_*/{render.key}.png"))
        # a file that changed since it was recorded is drawn again
        candidates = [*([] if done else [path]), *(one for one in older if one != path)]
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

    def _score(self, render: Render, picture: RGB8 | None, detailed: bool) -> None:
        store = self._project.store
        have = store.scores(render.id) or self._from_older(render)
        face, more = have.get("face"), have.get("chroma")
        detailed = detailed and render.arm != "control"
        judged = face is not None and face.tool == self._tag
        if judged and not (detailed and (more is None or more.tool != details.TOOL)):
            return
        if picture is None:
            picture = vision.open_picture(self._file(render))
        seen = self.ground.judge.look(picture)
        scores = [
            *self.ground.judge.measures(seen, self._tag),
            self.ground.copy_measure(picture),
        ]
        asked = self.plan.prompts[render.prompt_id].attributes
        if not detailed:
            scores += details.followed(picture, seen, asked)
        else:
            scores += details.measures(picture, seen, asked, self._training())
        store.put_scores(render.id, scores)

    def _from_older(self, render: Render) -> dict[str, Measure]:
        """What an older grid read off the very same picture by the same judge, taken over."""
        store = self._project.store
        if self._older is None:
            grids = [store.renders(v, state="done") for v in range(1, self.version)]
            self._older = {r.key: r for renders in grids for r in renders}
        older = self._older.get(render.key)
        if older is None or older.sha256 != files.sha256_file(self._file(render)):
            return {}
        found = {n: m for n, m in store.scores(older.id).items() if n != "match"}
        if "face" not in found or found["face"].tool != self._tag:
            return {}
        store.put_scores(render.id, found.values())
        return found

    def _training(self) -> details.Training:
        """Read when the first render needs it, and kept."""
        if self._trained is None:
            side = min(self.plan.render.width, self.plan.render.height)
            self._trained = self.ground.training(self._project, side)
            detail_file.write(self._folder, self._trained)
        return self._trained

    @property
    def folder(self) -> Path:
        """Where this grid's pictures lie."""
        return self._folder

    def files(self, phase: str, arm: Arm) -> list[Path]:
        """The pictures of one arm in a phase."""
        found = self._project.store.renders(self.version, state="done")
        return [
            self._file(r)
            for r in found
            if r.phase == phase and (r.arm, r.strength) == (arm.name, arm.strength)
        ]

    def judged(self, phase: str, arms: Sequence[Arm]) -> list[Judged]:
        """Scored pictures of a phase as the statistics want them; keeps the calibration."""
        found = judging.calibrate(self._project, self.version, self.plan, self.ground)
        judging.write(found, self._folder)
        scored = judging.read_scores(self._project, self.version, phase)
        return judging.judge(scored, found, arms, self.plan.data["limits"]["copy_bits"])
