"""What a picture source is: it says what it can make and makes one picture at a time.

In: a `Request`. Out: a `Picture` (PNG bytes with labels). Sources know nothing of projects.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True)
class Request:
    """One picture to make. attributes: axis -> id of the lexicon; size: side in pixels."""

    shot_id: str
    prompt: str
    attributes: dict[str, str]
    seed: int
    size: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, as journaled with a take."""
        return asdict(self)


@dataclass(frozen=True)
class Picture:
    """A finished picture. labels: what the source knows about it for certain; may be empty."""

    png: bytes
    width: int
    height: int
    labels: dict[str, Any] = field(default_factory=dict)


class Source(Protocol):
    """A place pictures come from; `make` may be called from several threads at once."""

    name: str

    def abilities(self) -> Mapping[str, tuple[str, ...]]:
        """Axis -> ids it can make; an axis left out means everything."""

    def make(self, request: Request) -> Picture:
        """Make one picture. Raises LimnerError when it cannot."""

    def close(self) -> None:
        """End helpers and connections; safe to call twice."""
