"""What a picture is asked for with, its key, and the order that swaps LoRAs least.

In: prompts, seeds, LoRA files, strengths and the settings they share. Out: keys and batches.
Nothing here is random or loads a model.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from limner.errors import UsageError
from limner.project import files

RENDERER = "diffusers-1"
"""Changes when the same cell would give another picture; it is part of every key."""
NEGATIVE_PROMPT = " "
"""Guidance needs an unconditional side; the pipeline takes any text, a blank is the neutral one."""

RGB8 = NDArray[np.uint8]


@dataclass(frozen=True)
class Settings:
    """All that pictures of one grid share. Pictures of different settings are never compared.

    base: the base model's fingerprint. template: t2i | edit. width, height: pixels. references:
    SHA-256 of the reference pictures (edit only). precision: the type the transformer runs in.
    more: what only this renderer has to say (ComfyUI: files, sampler, shift, versions).
    """

    base: str
    template: Literal["t2i", "edit"]
    width: int
    height: int
    steps: int
    true_cfg_scale: float
    precision: str
    references: tuple[str, ...] = ()
    negative_prompt: str = NEGATIVE_PROMPT
    renderer: str = RENDERER
    more: tuple[tuple[str, str | float], ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """For the grid's record."""
        found = {**asdict(self), "references": list(self.references)}
        del found["more"]
        return {**found, "more": dict(self.more)} if self.more else found

    @property
    def fingerprint(self) -> str:
        """16 hex digits: equal only for equal settings."""
        return files.sha256_bytes(files.canonical_json(self.as_dict()).encode())[:16]


@dataclass(frozen=True)
class Cell:
    """One picture: a prompt and a seed under a LoRA. `lora` None is the base model by itself."""

    prompt: str
    seed: int
    lora: Path | None = None
    lora_sha256: str = ""
    strength: float = 0.0

    def key(self, settings: Settings) -> str:
        """32 hex digits of everything the picture depends on."""
        facts = {
            "prompt": self.prompt,
            "seed": self.seed,
            "lora": self.lora_sha256,
            "strength": self.strength if self.lora_sha256 else 0.0,
            "settings": settings.as_dict(),
        }
        return files.sha256_bytes(files.canonical_json(facts).encode())[:32]


def ensure_comparable(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Raise UsageError, naming the fields, when two grids' settings differ."""
    fields = sorted(k for k in first.keys() | second.keys() if first.get(k) != second.get(k))
    if fields:
        raise UsageError(
            f"These pictures were made under different settings ({', '.join(fields)}), "
            "so their scores cannot be compared",
            fix="Evaluate again with the same settings: `limner evaluate`.",
        )


def batches(cells: Iterable[Cell], size: int) -> Iterator[list[Cell]]:
    """Cells in groups of at most `size` that share LoRA and strength, each LoRA loaded once.

    The base model comes first; inside a group prompts of like length stand together, since the
    shorter are padded to the longest.
    """
    order = sorted(
        cells, key=lambda c: (c.lora_sha256, c.strength, len(c.prompt), c.prompt, c.seed)
    )
    group: list[Cell] = []
    for cell in order:
        if group and (
            len(group) == size
            or (cell.lora_sha256, cell.strength) != (group[0].lora_sha256, group[0].strength)
        ):
            yield group
            group = []
        group.append(cell)
    if group:
        yield group


def batch_size(width: int, height: int, template: str, tokens: int = 512, most: int = 8) -> int:
    """Pictures a batch so that it holds about `tokens` image tokens; edit mode takes one.

    The edit pipeline refuses more (diffusers#12458). 512 tokens keep two CPU cores busy; more
    gains nothing there.
    """
    if template == "edit":
        return 1
    return max(1, min(most, tokens // max(1, (width // 16) * (height // 16))))


def png_bytes(image: RGB8, facts: dict[str, Any] | None = None) -> bytes:
    """A picture as PNG; `facts` go into its text as JSON under `limner`. Same input, same bytes."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    if facts:
        info.add_itxt("limner", json.dumps(facts, sort_keys=True, ensure_ascii=False))
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def picture_sha256(images: Sequence[RGB8]) -> tuple[str, ...]:
    """SHA-256 of each picture's pixels and size, for `Settings.references`."""
    return tuple(
        files.sha256_bytes(repr(image.shape).encode() + np.ascontiguousarray(image).tobytes())
        for image in images
    )
