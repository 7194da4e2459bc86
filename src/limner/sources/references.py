"""Reference pictures: who the character is, shown to a model that can be shown pictures.

In: paths. Out: plain pictures (upright, 8 bits, sRGB, without notes), known by their content.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limner.errors import InputError
from limner.project.files import sha256_bytes
from limner.sources.normal import plain

if TYPE_CHECKING:
    from PIL.Image import Image

SHORT = 16
"""Hex digits of a hash in a file's name."""


@dataclass(frozen=True)
class Reference:
    """One picture. data: the plain file's bytes, sha256 theirs."""

    path: Path
    data: bytes
    suffix: str
    sha256: str

    @property
    def filename(self) -> str:
        """`<hash>.png`, so that no other picture can stand under it."""
        return f"{self.sha256[:SHORT]}{self.suffix}"

    def image(self) -> Image:
        """Decoded, RGB."""
        from PIL import Image as Images

        return Images.open(io.BytesIO(self.data)).convert("RGB")


def unknown_word(trigger: str, source: str) -> str:
    """What to say when prompts call the person by a word that the model was never taught."""
    return (
        f"The prompts call the person {trigger}, a word this model does not know, instead of "
        "pointing at the reference picture. For prompts that do, write "
        f"`source: {{name: {source}}}` into character.yaml and run `limner shots plan --replace`."
    )


def read_references(paths: Sequence[Path], most: int) -> list[Reference]:
    """All pictures in order. Raises InputError: not there, no picture, damaged, too many."""
    if len(paths) > most:
        raise InputError(
            f"{len(paths)} reference pictures are given; the model takes {most} at most",
            fix="Leave some out: one sharp front view says most.",
        )
    return [_read(path.expanduser()) for path in paths]


def _read(path: Path) -> Reference:
    try:
        found = plain(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"The reference picture cannot be read ({error.strerror})",
            where=str(path),
            fix="Check the path given with --reference, or in character.yaml.",
        ) from None
    except InputError as error:
        raise InputError(
            f"The reference picture: {error.what}",
            where=str(path),
            fix=error.fix or "Give a whole PNG, JPEG or WebP of the person.",
        ) from None
    return Reference(path, found.data, found.suffix, sha256_bytes(found.data))
