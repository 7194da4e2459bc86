"""Sources: where the pictures come from.

1. A source says what it can make (`abilities`) and makes one picture a request (`make`).
2. `generate` makes a take for every open shot: journaled first, written whole, then marked done.
3. Killed at any point, the same command goes on: pending takes are made again into their rows.
4. A value the source lacks is replaced by its nearest, said aloud and kept in the take's labels.
5. The built-in source is the atelier; what it makes is a drawing and is marked as one.
"""

from limner.sources.atelier import AtelierSource, identity_of
from limner.sources.source import (
    LaterError,
    Note,
    Order,
    Picture,
    Price,
    Request,
    Source,
)
from limner.sources.stage import generate, nearest, open_source, substitute

__all__ = [
    "AtelierSource",
    "LaterError",
    "Note",
    "Order",
    "Picture",
    "Price",
    "Request",
    "Source",
    "generate",
    "identity_of",
    "nearest",
    "open_source",
    "substitute",
]
