"""What an hour of the machine that draws costs: the price given, else its GPU's in the tables.

In: a price of the user's own, or none; whether this machine draws. Out: a `Price` for the
evaluation's forecast, whose source says why it is not known where it is not.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.evaluation.pace import Price


def of_machine(given: float | None = None, *, here: bool = True) -> Price:
    """An hour of this machine. given: dollars, 0 or more; here: False where a server draws."""
    from limner.evaluation.pace import Price
    from limner.pipeline import machine
    from limner.training import hardware

    if given is not None:
        return Price(given, "--usd-per-hour")
    if not here:
        return Price(source="the ComfyUI server's price is not on record; give --usd-per-hour")
    cards = machine.gpus()
    if not cards:
        return Price(source="this machine has no GPU with a price; give --usd-per-hour")
    card = table_name(str(cards[0]["name"]), list(hardware.table()["gpus"]))
    if card is None:
        return Price(source=f"no price of {cards[0]['name']} is on record; give --usd-per-hour")
    found = hardware.price(card, None)
    return Price(found["usd"], str(found["source"]))


def table_name(card: str, names: list[str]) -> str | None:
    """`NVIDIA A100-SXM4-80GB` -> `A100-80GB`: the longest name whose parts the driver's has.

    Whole words only (an A4000 is no A40, a GH200 no H200), but `RTX 4090` is RTX4090.
    """
    fits = [n for n in names if all(_stands(part, card) for part in n.split("-"))]
    return max(fits, key=len, default=None)


def _stands(part: str, card: str) -> bool:
    pieces = r"\s?".join(re.findall(r"\d+|[a-z]+", part.lower()))
    return re.search(rf"(?<![a-z0-9]){pieces}(?![a-z0-9])", card.lower()) is not None
