"""Numbers that a stage decides by, each with its source and tag; character.yaml can change them.

In: a stage's table and the user's overrides. Out: name -> value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from limner.errors import InputError

Tag = Literal["published", "community", "starting value", "derived"]
"""How far to trust a number."""


@dataclass(frozen=True)
class Rule:
    """One number. `meaning` is what the user reads."""

    value: float
    tag: Tag
    source: str
    meaning: str


def values_of(
    table: Mapping[str, Rule], own: Mapping[str, float] | None, setting: str
) -> dict[str, float]:
    """All values, the user's own in place of ours. setting: their key in character.yaml.

    Raises InputError for a name that is not in the table.
    """
    values = {name: rule.value for name, rule in table.items()}
    for name, value in (own or {}).items():
        if name not in values:
            raise InputError(
                f"{setting} has no value called {name!r}",
                where=f"character.yaml, {setting}",
                fix=f"The names are: {', '.join(sorted(values))}.",
            )
        values[name] = float(value)
    return values
