"""diffusers as a source: a Qwen-Image or Qwen-Image-Edit model on this machine, no account.

In: a folder or hub id, reference pictures. Out: PNG pictures. With an edit model one picture of
the character is enough to make the others; the same order gives the same picture.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limner.errors import InputError, WorkFailedError
from limner.render import Cell, DiffusersRenderer, Settings, picture_sha256, png_bytes
from limner.sources.references import Reference, read_references, unknown_word
from limner.sources.source import LaterError, Note, Order, Picture, Price, Request

if TYPE_CHECKING:
    from limner.models import BaseInfo
    from limner.project.settings import Character
    from limner.render.cells import RGB8


MOST_REFERENCES = 3
"""Pictures a model can be shown: Qwen-Image-Edit-2509 was made for one to three (model card)."""


class DiffusersSource:
    """One model. model, references: from the command line, else character.yaml's.

    root: folder that relative paths of character.yaml belong to.
    """

    name = "diffusers"
    at_once: int | None = 1  # one model in memory draws one picture after the other

    def __init__(
        self,
        character: Character,
        *,
        root: Path,
        model: str | None = None,
        references: Sequence[Path] = (),
    ) -> None:
        self.settings = character.source.diffusers
        self.short_side = max(character.source.short_side, character.training.resolution)
        self._trigger, self._called = character.trigger, False
        self._root, self._named = root, model
        self._model = model or self.settings.model or character.training.base
        self._paths = list(references) or [root / name for name in self.settings.references]
        self._renderer: DiffusersRenderer | None = None
        self._precision = ""
        self._stopped = threading.Event()
        self._one = threading.Lock()  # a model draws one picture at a time

    @cached_property
    def info(self) -> BaseInfo:
        """Which model. Raises InputError: not there, files missing, not on this machine."""
        from limner.models import resolve_base

        beside = self._root / self._model
        at_home = self._named is None and (beside / "model_index.json").is_file()
        return resolve_base(str(beside) if at_home else self._model)

    @property
    def called(self) -> str:
        """The model's name for records and files: a hub id, or a folder's own name without its
        path, which is nobody's business."""
        local = Path(self.info.name).expanduser().is_dir()
        return Path(self.info.path).name if local else self.info.name

    @cached_property
    def references(self) -> list[Reference]:
        """The pictures it is shown. Raises InputError."""
        if self._paths and not self.can_edit:
            raise InputError(
                f"{self.info.name} makes pictures from text alone; it cannot be shown any",
                where=str(self._paths[0]),
                fix="Use an edit model (Qwen/Qwen-Image-Edit-2509), or leave out --reference.",
            )
        return read_references(self._paths, MOST_REFERENCES)

    @property
    def can_edit(self) -> bool:
        """Whether the model can be shown pictures."""
        return "edit" in self.info.templates

    @property
    def template(self) -> Literal["t2i", "edit"]:
        """Edit where there is something to edit, text to image otherwise."""
        return "edit" if self.references else "t2i"

    def abilities(self) -> Mapping[str, tuple[str, ...]]:
        """A text prompt can say everything; how much of it is drawn is for the review."""
        return {}

    def remarks(self) -> list[str]:
        """What a user should know before the machine works for hours."""
        width, height = self._size()
        said = [f"{self.info.name}: {width} x {height} px, {self._steps()} steps, {self.template}."]
        if not self.references:
            said.append(
                "No reference picture is given, so every picture shows another person"
                + (": use --reference PICTURE." if self.can_edit else ".")
            )
        elif self._called:
            said.append(unknown_word(self._trigger, self.name))
        if self.info.is_drawing:
            said.append("This model makes drawings; its pictures are marked as such.")
        return said

    def order(self, request: Request) -> Order:
        """Seed, prompt and everything else the picture depends on; nothing is loaded."""
        self._called |= self._trigger in request.prompt
        width, height = self._size()
        return {
            "model": self.called,
            "seed": request.seed,
            "prompt": request.prompt,
            "settings": {
                "base": self.info.fingerprint,
                "template": self.template,
                "width": width,
                "height": height,
                "steps": self._steps(),
                "true_cfg_scale": self._guidance(),
                "negative_prompt": self.settings.negative_prompt,
                "references": [r.sha256 for r in self.references],
            },
        }

    def _size(self) -> tuple[int, int]:
        own = self.info.resolution
        return self.settings.width or own, self.settings.height or own

    def _steps(self) -> int:
        return self.settings.steps or self.info.sampling_steps

    def _guidance(self) -> float:
        return self.settings.true_cfg_scale or self.info.true_cfg_scale

    def prices(self, orders: Sequence[Order]) -> list[Price] | None:
        """Nothing is paid here."""
        return None

    def make(self, request: Request, order: Order, note: Note) -> list[Picture]:
        """Draw one picture. Raises WorkFailedError, LaterError when the run is stopped.

        An order of a killed run that asks for other settings than those of now is refused: its
        picture would stand beside pictures it cannot be compared with.
        """
        if self._stopped.is_set():
            raise LaterError("The run was stopped", fix="Run the same command again.")
        wanted = self.order(request)["settings"]
        differs = sorted(k for k in wanted if order["settings"].get(k) != wanted[k])
        if differs:
            raise LaterError(
                f"This picture was begun under other settings ({', '.join(differs)})",
                where=str(order.get("model")),
                fix="Give the same --model, --reference and settings as before.",
                stop=True,
            )
        cell = Cell(request.prompt, int(order["seed"]))
        with self._one:
            image = self._draw(cell)
        height, width = image.shape[:2]
        labels: dict[str, Any] = {
            "service": self.name,
            "model": self.called,
            **order["settings"],
            "precision": self._precision,
            "short_side": min(width, height),
        }
        facts = {"model": self.called, "seed": cell.seed, "prompt": cell.prompt}
        if self.info.is_drawing:
            labels["drawing"] = True
            facts["note"] = "A drawing of a made-up character, no photograph"
        elif min(width, height) < self.short_side:
            labels["too_small"] = f"short side {min(width, height)}, {self.short_side} wanted"
        return [Picture(png_bytes(image, facts), width, height, labels)]

    def _draw(self, cell: Cell) -> RGB8:
        """One picture. Raises WorkFailedError when memory runs out (a GPU's too)."""
        try:
            return next(picture for _, picture in self.renderer.pictures([cell]))
        except (MemoryError, RuntimeError) as error:
            if isinstance(error, RuntimeError) and "out of memory" not in str(error).lower():
                raise
            raise WorkFailedError(
                "The model does not fit into this machine's memory",
                where=self.info.path,
                fix="Qwen-Image-Edit-2509 in bf16 wants about 58 GB. Use ComfyUI with fp8 files "
                "on a GPU (--with comfyui), smaller pictures, or a smaller model.",
            ) from None

    @property
    def renderer(self) -> DiffusersRenderer:
        """The model, loaded when the first picture is asked for. Raises InputError for missing or
        broken files."""
        if self._renderer is None:
            import numpy as np

            from limner.models import open_base

            shown = [np.asarray(r.image()) for r in self.references]
            base = open_base(self.info)
            self._precision = str(base.dtype).rpartition(".")[2]
            self._renderer = DiffusersRenderer(base, self._rendering(shown), shown)
        return self._renderer

    def _rendering(self, shown: Sequence[RGB8]) -> Settings:
        width, height = self._size()
        return Settings(
            base=self.info.fingerprint,
            template=self.template,
            width=width,
            height=height,
            steps=self._steps(),
            true_cfg_scale=self._guidance(),
            precision=self._precision,
            references=picture_sha256(shown),
            negative_prompt=self.settings.negative_prompt,
        )

    def stop(self) -> None:
        """The picture being drawn is finished; no other is begun."""
        self._stopped.set()

    def close(self) -> None:
        """Let go of the model."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None
