"""What the Soul models can be asked for: families, shapes, sizes, and the exact body of an order.

In: the settings of character.yaml. Out: a size and a JSON body. Sources: Higgsfield's model pages;
the pixel sizes were observed by others in November 2025 (no call was made from here), so a
finished picture is measured and the table is never trusted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from limner.errors import InputError

if TYPE_CHECKING:
    from limner.project.settings import HiggsfieldSettings

PREFIX = "higgsfield-ai/"
SEEDS = 1_000_000
"""Seeds are 1 to this (model page)."""

VERSIONS = {"soul/standard": "v1", "soul/v2/standard": "v2", "soul/cinema": "cinema"}
"""Model family -> `model_version` a Soul ID must have been trained with."""

PIXELS = {
    ("1:1", "720p"): (1152, 1152),
    ("1:1", "1080p"): (1536, 1536),
    ("3:4", "720p"): (1152, 1536),
    ("3:4", "1080p"): (1536, 2048),
    ("2:3", "720p"): (1024, 1536),
    ("2:3", "1080p"): (1365, 2048),
    ("9:16", "720p"): (864, 1536),
    ("9:16", "1080p"): (1152, 2048),
}
"""Aspect and resolution -> width, height; turned shapes are swapped. 1024x1024 does not exist."""


@dataclass(frozen=True)
class Size:
    """A size the service makes."""

    aspect: str
    resolution: str
    width: int
    height: int

    @property
    def short(self) -> int:
        """The shorter side in pixels."""
        return min(self.width, self.height)


def sizes(aspect: str) -> list[Size]:
    """Both sizes of a shape, smaller first."""
    across, down = aspect.split(":")
    upright = aspect if (aspect, "720p") in PIXELS else f"{down}:{across}"
    found = []
    for resolution in ("720p", "1080p"):
        width, height = PIXELS[upright, resolution]
        if upright != aspect:
            width, height = height, width
        found.append(Size(aspect, resolution, width, height))
    return found


def choose_size(aspect: str, short_side: int) -> Size:
    """The smallest size whose short side is at least `short_side`. Raises InputError."""
    options = sizes(aspect)
    for size in options:
        if size.short >= short_side:
            return size
    raise InputError(
        f"Soul makes {aspect} with {options[-1].short} px on the short side at most, "
        f"and {short_side} are asked for",
        where="character.yaml: source.short_side",
        fix="Lower source.short_side, or choose 1:1 or 3:4 as source.higgsfield.aspect.",
    )


def body_of(settings: HiggsfieldSettings, size: Size, prompt: str, seed: int) -> dict[str, Any]:
    """The JSON of an order. Nothing is null: for the service null and absent differ.

    `enhance_prompt` is off: the service would rewrite what later becomes the caption. seed: any
    number, brought into the service's range.
    """
    body: dict[str, Any] = {
        "prompt": prompt,
        "aspect_ratio": size.aspect,
        "resolution": size.resolution,
        "seed": 1 + seed % SEEDS,
        "batch_size": settings.batch,
        "enhance_prompt": False,
    }
    if settings.soul_id:
        body["custom_reference_id"] = settings.soul_id
        body["custom_reference_strength"] = settings.soul_strength
    if settings.style_id:
        body["style_id"] = settings.style_id
        body["style_strength"] = settings.style_strength
    return body
