"""Sources: where the pictures come from.

1. A source says what it can make (`abilities`), writes an `order` and fulfils it (`make`).
2. `generate` makes a take for every open shot: priced, journaled, sent, written whole, then done.
3. Killed at any point, the same command goes on: pending orders are fulfilled, never paid twice.
4. Sources: the atelier (drawings, marked so), Higgsfield, ComfyUI, diffusers, and the `inbox`.
5. Journal, budget, retries, fetching and progress are written once: `run`, `budget`, `wire`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from limner.sources.atelier import AtelierSource, identity_of
from limner.sources.intake import WAYS, inbox, realism
from limner.sources.source import LaterError, Note, Order, Picture, Price, Request, Source
from limner.sources.stage import (
    NAMES,
    abilities,
    generate,
    nearest,
    open_source,
    substitute,
)

if TYPE_CHECKING:
    from limner.events import Events
    from limner.project import Project

__all__ = [
    "NAMES",
    "WAYS",
    "AtelierSource",
    "LaterError",
    "Note",
    "Order",
    "Picture",
    "Price",
    "Request",
    "Source",
    "abilities",
    "create_soul_id",
    "generate",
    "identity_of",
    "inbox",
    "nearest",
    "open_source",
    "realism",
    "substitute",
]


def create_soul_id(project: Project, folder: Path, *, base_url: str | None = None) -> Events:
    """Train a Higgsfield Soul ID; see `limner.sources.higgsfield.create_soul_id`."""
    from limner.sources import higgsfield

    return higgsfield.create_soul_id(project, folder, base_url=base_url)
