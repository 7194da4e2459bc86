"""Pictures from a base model with LoRAs, through diffusers' own Qwen-Image pipelines.

In: cells and their settings. Out: uint8 pictures, each a function of its cell alone: every
picture has its own noise generator, whatever it shares a batch with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from limner.errors import InputError, first_line
from limner.render.cells import RGB8, Cell, Settings, batch_size, batches

if TYPE_CHECKING:
    from limner.models import Base

ADAPTER = "limner"


class DiffusersRenderer:
    """One opened base model that draws cells. Keep it for a whole grid; it loads LoRAs in turn."""

    def __init__(self, base: Base, settings: Settings, references: Sequence[RGB8] = ()) -> None:
        """references: uint8 pictures for the edit template, in the order of the prompt.

        Raises InputError when the edit template gets none.
        """
        from PIL import Image

        if settings.template == "edit" and not references:
            raise InputError(
                "The edit template draws from a reference picture, and there is none",
                fix="Build the dataset with held-out references, or use template: t2i.",
            )
        self._base = base
        self._settings = settings
        self._references = [Image.fromarray(r) for r in references]
        self._pipeline: Any = base.pipeline(settings.template)
        self._pipeline.set_progress_bar_config(disable=True)
        self._loaded: str = ""
        self._embeds: dict[str, Any] = {}

    def pictures(self, cells: Iterable[Cell]) -> Iterator[tuple[Cell, RGB8]]:
        """Draw cells in the order that swaps LoRAs least; yields each with its picture.

        Pictures are uint8 (height, width, 3). Raises InputError for a LoRA that does not fit.
        """
        wanted = self._settings
        size = batch_size(wanted.width, wanted.height, wanted.template)
        for group in batches(cells, size):
            self._use(group[0])
            yield from zip(group, self._draw(group), strict=True)

    def know(self, embeds: Mapping[str, Any]) -> None:
        """Take embeddings (tokens, D) of prompts made before; these need no text encoder."""
        self._embeds.update(embeds)

    def close(self) -> None:
        """Take the LoRA out again; the base is as it was opened."""
        self._unload()

    def _unload(self) -> None:
        if self._loaded:
            self._pipeline.unload_lora_weights()
            self._loaded = ""

    def _use(self, cell: Cell) -> None:
        if cell.lora_sha256 != self._loaded:
            self._unload()
            if cell.lora is not None:
                self._load(cell.lora)
                self._loaded = cell.lora_sha256
        if cell.lora is not None:
            self._pipeline.set_adapters([ADAPTER], [cell.strength])

    def _load(self, path: Path) -> None:
        try:
            self._pipeline.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=ADAPTER
            )
        except (ValueError, RuntimeError, KeyError, OSError) as error:
            self._pipeline.unload_lora_weights()  # a refused file may be half in
            raise InputError(
                f"The LoRA does not load into this base model ({first_line(error)})",
                where=str(path),
                fix="See `limner lora check`; was it trained on this base?",
            ) from None

    def _draw(self, group: Sequence[Cell]) -> list[RGB8]:
        import torch

        wanted = self._settings
        embeds, mask = self._encode([cell.prompt for cell in group])
        arguments: dict[str, Any] = {"prompt_embeds": embeds, "prompt_embeds_mask": mask}
        if wanted.true_cfg_scale > 1:
            negative, negative_mask = self._encode([wanted.negative_prompt] * len(group))
            arguments["negative_prompt_embeds"] = negative
            arguments["negative_prompt_embeds_mask"] = negative_mask
        if self._references:
            arguments["image"] = self._references
        # Noise comes from the CPU's generator on every machine, so that a seed means one picture.
        generators = [torch.Generator("cpu").manual_seed(cell.seed) for cell in group]
        with torch.inference_mode():
            images = self._pipeline(
                **arguments,
                true_cfg_scale=wanted.true_cfg_scale,
                num_inference_steps=wanted.steps,
                height=wanted.height,
                width=wanted.width,
                generator=generators if len(group) > 1 else generators[0],
                output_type="np",
            ).images
        return [np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8) for image in images]

    def _encode(self, prompts: Sequence[str]) -> tuple[Any, Any]:
        """Padded embeddings (B, L, D) and mask (B, L) or None.

        Each prompt goes through the encoder once: LoRAs here never touch it, so one code serves
        every arm.
        """
        import torch

        from limner.models.base import collate

        for prompt in dict.fromkeys(prompts):
            if prompt not in self._embeds:
                references = [self._references] if self._references else None
                with torch.inference_mode():
                    self._embeds[prompt] = self._base.encode_prompts(
                        [prompt], template=self._settings.template, references=references
                    )[0]
        return collate([self._embeds[prompt] for prompt in prompts])
