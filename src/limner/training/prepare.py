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
from typing import TYPE_CHECKING, Any

from limner.errors import InputError
from limner.events import Progress, Ticker
from limner.models import tensorfile
from limner.project.files import canonical_json, sha256_bytes
from limner.training import data
from limner.training.data import Picture
from limner.training.trainer import Example

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
    template: str
    resolution: int

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
            shown = self.base.fit(data.load(picture.path, *size), self.base.info.reference_area)
            return self.base.encode_images([shown])[0]

        facts: dict[str, Any] = {"picture": picture.sha256, "size": list(size)}
        facts["area"] = self.base.info.reference_area
        return self.cache.get(self.cache.job("reference", make, **facts))

    def _embeds(self, caption: str, reference: Picture | None, size: tuple[int, int]) -> Tensor:
        """Embeddings of a caption; in the edit template the text encoder sees the reference."""

        def make() -> Tensor:
            if reference is None:
                return self.base.encode_prompts([caption], "t2i")[0]
            shown = data.load(reference.path, *size)
            return self.base.encode_prompts([caption], "edit", [[shown]])[0]

        facts: dict[str, Any] = {"caption": caption, "template": self.template}
        if reference is not None:
            facts |= {"picture": reference.sha256, "size": list(size)}
            facts["area"] = self.base.info.condition_area
        return self.cache.get(self.cache.job("embeds", make, **facts))

    def example(self, picture: Picture, shown: Sequence[Picture]) -> Example:
        """One picture with the references it may be shown with (t2i: none)."""
        size = data.bucket_size(picture.width, picture.height, self.resolution)
        slots: list[Picture | None] = list(shown) or [None]
        example = Example(
            width=size[0],
            height=size[1],
            latents=self._latents(picture, size),
            embeds=[self._embeds(picture.caption, reference, size) for reference in slots],
            empty=[self._embeds("", reference, size) for reference in slots],
        )
        if shown:
            example.references = [self._reference(reference, size) for reference in shown]
            width, height = self._reference_size(size)
            example.reference_size = (height, width)
        return example


def examples(
    encoder: Encoder,
    train: Sequence[Picture],
    held_out: Sequence[Picture],
    *,
    each: int,
    seed: int,
    into: tuple[list[Example], list[Example]],
) -> Iterator[Progress]:
    """Encode all pictures into the two lists `into` (train, held out), yielding progress.

    each: references a training picture (edit template). A held-out picture is shown with one
    training picture, never the other way round.
    """
    ticker = Ticker("encoding pictures and captions", len(train) + len(held_out))
    edit = encoder.template == "edit"
    shown = data.references(train, each, seed) if edit else [[] for _ in train]
    for picture, others in zip(train, shown, strict=True):
        into[0].append(encoder.example(picture, [train[i] for i in others]))
        yield ticker.tick(note=picture.name)
    front = [p for p in train if p.face] or list(train)
    for picture in held_out:
        into[1].append(encoder.example(picture, front[:1] if edit else []))
        yield ticker.tick(note=picture.name)
