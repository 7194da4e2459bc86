"""The manual's table of cards says what is planned for them today."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from limner.training.fast.choice import planned

PAGE = Path(__file__).parents[3] / "docs" / "training_speed.md"
WIDTHS = {"bf16": "bf16", "int8": "int8", "nf4": "NF4"}


def told(found: dict[str, Any]) -> str:
    """A planned choice in the manual's words."""
    width = WIDTHS[found["precision"]]
    if found["swapped"]:
        return f"{width}, {found['swapped']} blocks swapped"
    if found["whole"]:
        return f"{width}, nothing swapped"
    part = found["attention"]
    if not part:
        return f"{width}, every block keeps everything"
    return f"{width}, {part} blocks keep the attention's part, {60 - part} everything"


@pytest.mark.parametrize("card", [12, 16, 24, 48, 80])
def test_what_fits_which_card(card: int) -> None:
    found = [planned(card * 1e9, tokens) for tokens in (4352, 8522)]
    assert f"| {card} GB | {told(found[0])} | {told(found[1])} |" in PAGE.read_text("utf-8")
    assert (found[0]["optimizer_bits"] == 32) == (card == 80)
