"""Base models: the real Qwen-Image-Edit folders and the miniature, through the same code.

1. `resolve_base` says which folder, its fingerprint and its numbers, without loading torch.
2. `open_base` loads transformer, autoencoder, text encoder and tokenizer into a `Base`.
3. `Base` encodes prompts and pictures exactly as inference does, runs the transformer, decodes.
4. `Base.pipeline` is diffusers' own pipeline on the same modules.
5. Only this package knows which base is the miniature; every other asks `BaseInfo` for numbers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from limner.models.info import BaseInfo, resolve_base

if TYPE_CHECKING:
    from limner.models.base import Base, open_base
    from limner.models.miniature import build_random

__all__ = ["Base", "BaseInfo", "build_random", "open_base", "resolve_base"]


def __getattr__(name: str) -> Any:
    """`open_base`, `Base` and `build_random` load their modules when first used."""
    if name in ("open_base", "Base"):
        from limner.models import base

        return getattr(base, name)
    if name == "build_random":
        from limner.models import miniature

        return miniature.build_random
    raise AttributeError(name)
