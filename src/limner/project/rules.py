"""Numbers that a stage decides by, each with its source and tag; character.yaml can change them.

In: a stage's table and the user's overrides. Out: name -> value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from limner.errors import InputError

Tag = Literal["published", "community", "starting value", "derived"]
"""How far to trust a number."""


@dataclass(frozen=True)
class Rule:
    """One number. `meaning` is what the user reads; `least` and `most` what they may set it to."""

    value: float
    tag: Tag
    source: str
    meaning: str
    least: float = -math.inf
    most: float = math.inf
    whole: bool = False


def values_of(
    table: Mapping[str, Rule], own: Mapping[str, float] | None, setting: str
) -> dict[str, float]:
    """All values, the user's own in place of ours. setting: their key in character.yaml.

    Raises InputError for a name that is not in the table, and for a value out of its range.
    """
    values = {name: rule.value for name, rule in table.items()}
    for name, value in (own or {}).items():
        if name not in values:
            raise InputError(
                f"{setting} has no value called {name!r}",
                where=f"character.yaml, {setting}",
                fix=f"The names are: {', '.join(sorted(values))}.",
            )
        if wrong := _wrong(table[name], float(value)):
            raise InputError(
                f"{setting}.{name} is {value:g}, but it must be {wrong}: {table[name].meaning}",
                where=f"character.yaml, {setting}.{name}",
                fix=f"Ours is {table[name].value:g}.",
            )
        values[name] = float(value)
    return values


def _wrong(rule: Rule, value: float) -> str:
    """What the value must be and is not; empty when it may stand."""
    if not math.isfinite(value):
        return "a number"
    if rule.whole and value != int(value):
        return "a whole number"
    if rule.least <= value <= rule.most:
        return ""
    low, high = f"{rule.least:g}", f"{rule.most:g}"
    return f"at least {low}" if math.isinf(rule.most) else f"between {low} and {high}"
