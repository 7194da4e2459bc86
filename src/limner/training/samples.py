"""Sample pictures while a run goes on: the same prompts and seeds at every checkpoint.

In: the base with the LoRA in training on it. Out: PNG files in logs/run_<n>/samples. They are for
the eye; the verdict makes its own pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from limner.project.files import write_bytes
from limner.training import data
from limner.training.config import RunConfig

if TYPE_CHECKING:
    from limner.models import Base
    from limner.render import DiffusersRenderer


class Sampler:
    """Draws `config.samples` pictures from the captions of `prompts`, in their order.

    prompts: held-out pictures first, so that what is drawn was not trained on. shown: the edit
    template's references, as training shows them; the edit pipeline cannot draw without one, so a
    run without control is sampled with a black picture.
    """

    def __init__(
        self, base: Base, config: RunConfig, prompts: Sequence[data.Picture], shown: data.Shown
    ) -> None:
        import numpy as np

        from limner.render import Cell, Settings, picture_sha256

        side = max(data.SIDE, config.resolution // data.SIDE * data.SIDE)
        pictures = []
        if config.template == "edit":
            pictures = [data.shown(p, side, side) for p in shown or (data.BLANK,)]
        self._base = base
        self._references = [np.asarray(p) for p in pictures]
        self._settings = Settings(
            base=config.base_fingerprint,
            template=config.template,
            width=side,
            height=side,
            steps=int(config.values["sample_steps"]),
            true_cfg_scale=base.info.true_cfg_scale,
            precision=str(base.dtype).removeprefix("torch."),
            references=picture_sha256(self._references),
        )
        chosen = [prompts[i % len(prompts)].caption for i in range(config.samples)]
        self._cells = [Cell(caption, config.seed + i) for i, caption in enumerate(chosen)]
        # encoded now, so that the text encoder can leave before the transformer comes
        beside = [pictures] if pictures else None
        self._embeds = {
            prompt: base.encode_prompts([prompt], config.template, beside)[0]
            for prompt in (*chosen, self._settings.negative_prompt)
        }
        self._renderer: DiffusersRenderer | None = None

    def draw(self, folder: Path, step: int) -> None:
        """Write step_000100_0.png and so on. A file that is there is the same picture."""
        from limner.render import DiffusersRenderer, png_bytes

        paths = [folder / f"step_{step:06d}_{i}.png" for i in range(len(self._cells))]
        if all(path.is_file() for path in paths):
            return
        if self._renderer is None:
            self._renderer = DiffusersRenderer(self._base, self._settings, self._references)
            self._renderer.know(self._embeds)
        for cell, picture in self._renderer.pictures(self._cells):
            number = self._cells.index(cell)
            facts = {"prompt": cell.prompt, "seed": cell.seed, "step": step, "sample": number}
            write_bytes(paths[number], png_bytes(picture, facts))
