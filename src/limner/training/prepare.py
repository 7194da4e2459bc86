"""Pictures and captions encoded once and kept: latents and embeddings in the project's cache.

In: an open base and pictures. Out: `Example`s for the trainer. A cache entry's name is the hash of
all it depends on, so a changed caption, picture, base or library misses and nothing goes stale.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from limner.errors import InputError
from limner.events import Progress, Ticker
from limner.models import tensorfile
from limner.models.base import TOKEN_SCALE
from limner.project.files import canonical_json, sha256_bytes
from limner.training import data
from limner.training.config import Template
from limner.training.data import Picture, Shown
from limner.training.trainer import Example
from limner.vision.reading import VERSION

if TYPE_CHECKING:
    from torch import Tensor

    from limner.models import Base

FORMAT = 1
VERSIONED = ("diffusers", "transformers", "torch")


@cache
def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in VERSIONED}


@dataclass(frozen=True)
class Job:
    """One thing to encode: what it depends on, and how."""

    key: str
    facts: dict[str, Any]
    make: Callable[[], Tensor]


class Cache:
    """The folder of encoded tensors. `get` reads or makes one; every entry is written whole.

    Each is encoded on its own, never in a batch: what stands in an entry depends on nothing but
    its key, so a run broken off while caching goes on with the same bits.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self.folder, self.fingerprint = folder, fingerprint
        self.made = 0

    def job(self, kind: str, make: Callable[[], Tensor], **facts: Any) -> Job:
        """A job whose key is the hash of kind, facts, base and library versions."""
        full = {"kind": kind, **facts, "base": self.fingerprint, "versions": _versions()}
        full["format"] = FORMAT
        return Job(sha256_bytes(canonical_json(full).encode()), full, make)

    def get(self, job: Job) -> Tensor:
        """The tensor of a job, float32 on the CPU. Raises WorkFailedError (disk full)."""
        import torch

        path = self.folder / job.key[:2] / f"{job.key}.safetensors"
        if path.exists():
            try:
                tensors, _ = tensorfile.read(path)
                return torch.from_numpy(tensors["value"].floats().copy())
            except (InputError, KeyError):
                pass  # a damaged entry is made again
        value = job.make().detach()
        # bf16 values keep their exact bits in half the space
        dtype = "BF16" if value.dtype == torch.bfloat16 else "F32"
        value = value.float().cpu()
        facts = {k: str(v) for k, v in job.facts.items() if k != "caption"}
        tensorfile.write(path, {"value": tensorfile.encode(value.numpy(), dtype)}, facts)
        self.made += 1
        return value


@dataclass
class Encoder:
    """Makes examples of pictures with one base, template and resolution."""

    base: Base
    cache: Cache
    template: Template
    resolution: int
    face_weight: float = 1.0
    """How much more a token counts that lies in the face."""

    def weights(self, picture: Picture, size: tuple[int, int]) -> Tensor | None:
        """What each token of a picture of (width, height) counts, (tokens, 1), mean 1.

        1 outside the face and `face_weight` in it, by the share of the token that its box covers;
        None where no face is found or all count alike. Raises MissingExtraError.
        """
        import torch

        if self.face_weight == 1.0:
            return None
        box = self._face(picture, size)
        if not len(box):
            return None
        left, top, right, bottom = box.tolist()
        across, down = (
            (torch.arange(side // TOKEN_SCALE) * TOKEN_SCALE).float() for side in size
        )  # fmt: skip
        in_row = ((across + TOKEN_SCALE).clamp(max=right) - across.clamp(min=left)).clamp(min=0)
        in_column = ((down + TOKEN_SCALE).clamp(max=bottom) - down.clamp(min=top)).clamp(min=0)
        covered = in_column[:, None] * in_row[None] / TOKEN_SCALE**2
        found = 1 + (self.face_weight - 1) * covered.reshape(-1, 1)
        return found / found.mean()

    def _face(self, picture: Picture, size: tuple[int, int]) -> Tensor:
        """(left, top, right, bottom) of the largest face at (width, height); empty without one."""
        kind: Literal["drawing", "photo"] = "drawing" if self.base.info.is_drawing else "photo"

        def make() -> Tensor:
            import numpy as np
            import torch

            from limner.vision import faces

            found = faces.find_faces(np.asarray(data.load(picture.path, *size)), kind=kind)
            return torch.tensor(found[0].box if found else ())

        facts = {"picture": picture.sha256, "size": list(size), "of": kind, "by": VERSION}
        return self.cache.get(self.cache.job("face", make, **facts))

    def _latents(self, picture: Picture, size: tuple[int, int]) -> Tensor:
        """Latents of a picture at exactly (width, height)."""

        def make() -> Tensor:
            return self.base.encode_images([data.load(picture.path, *size)])[0]

        return self.cache.get(
            self.cache.job("latents", make, picture=picture.sha256, size=list(size))
        )

    def _reference_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) at which the autoencoder sees a reference of this shape."""
        from PIL import Image

        return self.base.fit(Image.new("RGB", size), self.base.info.reference_area).size

    def _reference(self, picture: Picture, size: tuple[int, int]) -> Tensor:
        """Latents of a reference, cut to the target's shape so that a batch has one shape."""

        def make() -> Tensor:
            fitted = self.base.fit(data.shown(picture, *size), self.base.info.reference_area)
            return self.base.encode_images([fitted])[0]

        facts: dict[str, Any] = {"picture": picture.sha256, "size": list(size)}
        facts["area"] = self.base.info.reference_area
        return self.cache.get(self.cache.job("reference", make, **facts))

    def _embeds(self, caption: str, shown: Shown, size: tuple[int, int]) -> Tensor:
        """Embeddings of a caption; in the edit template the text encoder sees the references."""

        def make() -> Tensor:
            if self.template == "t2i":
                return self.base.encode_prompts([caption], "t2i")[0]
            pictures = [data.shown(p, *size) for p in shown]
            return self.base.encode_prompts([caption], "edit", [pictures])[0]

        facts: dict[str, Any] = {"caption": caption, "template": self.template}
        if shown:
            names = [p.sha256 for p in shown]
            facts |= {"picture": names[0] if len(names) == 1 else names, "size": list(size)}
            facts["area"] = self.base.info.condition_area
        return self.cache.get(self.cache.job("embeds", make, **facts))

    def example(self, picture: Picture, choices: Sequence[Shown]) -> Example:
        """One picture with what it may be shown with; the one choice () is: with nothing."""
        import torch

        size = data.bucket_size(picture.width, picture.height, self.resolution)
        example = Example(
            width=size[0],
            height=size[1],
            latents=self._latents(picture, size),
            embeds=[self._embeds(picture.caption, shown, size) for shown in choices],
            empty=[self._embeds("", shown, size) for shown in choices],
        )
        if choices[0]:
            width, height = self._reference_size(size)
            example.references = [
                torch.cat([self._reference(p, size) for p in shown]) for shown in choices
            ]
            example.reference_sizes = [(height, width)] * len(choices[0])
        return example


def examples(
    encoder: Encoder,
    train: Sequence[Picture],
    held_out: Sequence[Picture],
    choices: tuple[list[list[Shown]], list[list[Shown]]],
    *,
    into: tuple[list[Example], list[Example]],
) -> Iterator[Progress]:
    """Encode all pictures into the two lists `into` (train, held out), yielding progress.

    choices: what may be shown beside each of them, from `data.controls`.
    """
    ticker = Ticker("encoding pictures and captions", len(train) + len(held_out))
    for part, pictures in enumerate((train, held_out)):
        for picture, shown in zip(pictures, choices[part], strict=True):
            example = encoder.example(picture, shown)
            if part == 0:  # what is held out is measured, and a measure counts all tokens alike
                example.weights = encoder.weights(picture, (example.width, example.height))
            into[part].append(example)
            yield ticker.tick(note=picture.name)
