"""What a picture source is: it says what it can make, writes an order, and fulfils it.

In: a `Request`. Out: `Picture`s (the file's bytes with labels). Sources know nothing of projects:
the run journals what a source tells it, before anything is sent or paid.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from typing import Any, Protocol

from limner.errors import WorkFailedError

Order = dict[str, Any]
"""What one request becomes at a source, as journaled: exact body, key, price. {} when there is
nothing to remember. `charged` False: it turned out to cost nothing."""

Note = Callable[[Mapping[str, Any]], None]
"""Adds facts to an order in the journal while it is being fulfilled (request id, charged, ...)."""


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
    """A finished picture, checked. data: the file's bytes; suffix: what kind of file that is.

    labels: what the source knows about it for certain; may be empty.
    """

    data: bytes
    width: int
    height: int
    labels: dict[str, Any] = field(default_factory=dict)
    suffix: str = ".png"


@dataclass(frozen=True)
class Price:
    """What one order costs, as its service says it."""

    usd: Decimal
    credits: Decimal = Decimal(0)

    def as_dict(self) -> dict[str, str]:
        """As journaled with the order."""
        return {"usd": str(self.usd), "credits": str(self.credits)}


class LaterError(WorkFailedError):
    """Not made yet and not given up: the take stays pending and the same command goes on with it.

    stop: nothing else would work now either, so the run takes no new shot.
    """

    def __init__(
        self, what: str, *, where: str | None = None, fix: str | None = None, stop: bool = False
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.stop = stop


class Source(Protocol):
    """A place pictures come from; `make` may be called from several threads at once."""

    name: str
    at_once: int | None
    """Pictures in the making at a time; None: as many as the run has workers."""

    def abilities(self) -> Mapping[str, tuple[str, ...]]:
        """Axis -> ids it can make; an axis left out means everything."""

    def remarks(self) -> list[str]:
        """What a user should know before anything is made, a sentence each."""

    def order(self, request: Request) -> Order:
        """What will be asked for, complete; nothing is sent. `seed` in it is the seed really used.

        Raises LimnerError for a request that can never be made.
        """

    def prices(self, orders: Sequence[Order]) -> list[Price] | None:
        """What each order costs, asked from the service; None: nothing is paid here."""

    def make(self, request: Request, order: Order, note: Note) -> list[Picture]:
        """Fulfil an order, also one that a killed run left behind; the first picture is the take's.

        Raises LaterError when it may still come, another LimnerError when it will not.
        """

    def stop(self) -> None:
        """Called from another thread when a run is interrupted: waiting calls of `make` end."""

    def close(self) -> None:
        """End helpers and connections; safe to call twice."""
