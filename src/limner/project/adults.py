"""Words that make a person a minor: Limner plans, draws and trains adults only."""

from __future__ import annotations

import re

_YOUNG = (
    r"(?:[1-9]|1[0-7])[- ]years?[- ]old|child(?:ren)?|kids|kid(?! (?:gloves?|leather|skin)\b)"
    r"|toddlers?|infants?|minors|underage|(?:pre-?)?teen(?:s|age|aged|agers?)?"
    r"|school(?:girl|boy)s?|(?:little|small|young) (?:girl|boy)s?"
)
UNDER_18 = re.compile(rf"\b(?:{_YOUNG})\b", re.IGNORECASE)
"""In a description or a prompt, where a scar may be minor and blue eyes baby blue."""
AS_CLASS_WORD = re.compile(rf"\b(?:{_YOUNG}|baby|minor|girl|boy)\b", re.IGNORECASE)
"""As a class word, which says what the person is."""
