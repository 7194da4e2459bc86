"""What a verdict says, as the report, the usage guide and the card need it.

In: a `VerdictRecord` (keys of `data` as limner.evaluation writes them). Out: a `Reading`. A part
that the verdict does not hold is None or empty, never 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from limner.project.records import VerdictRecord

OUTCOMES = {
    "same_person": ("The same person", "ok", "g-keep"),
    "not_same": ("Not the same person", "attention", "g-attention"),
    "too_close": ("Too close to call", "", "g-close"),
    "not_enough": ("Not enough evidence", "quiet", "n-wait"),
}
"""Outcome -> state in words, colour role, glyph (components 10)."""


@dataclass(frozen=True)
class Rate:
    """A share with its exact 95 % interval. `hits` None = not measured, then `reason` says why."""

    name: str
    note: str = ""
    hits: int | None = None
    n: int | None = None
    low: float = 0.0
    high: float = 1.0
    role: str = "claim"
    reason: str = ""

    @property
    def share(self) -> float | None:
        """hits / n, None when not measured."""
        return None if self.hits is None or not self.n else self.hits / self.n

    @property
    def words(self) -> str:
        """`54 of 60`, or `not measured`."""
        return "not measured" if self.share is None else f"{self.hits:,} of {self.n:,}"

    @property
    def interval(self) -> str:
        """`79.5 to 96.2 %`, or the reason why not."""
        if self.share is None:
            return self.reason or "not measured"
        return f"{100 * self.low:.1f} to {100 * self.high:.1f} %"


@dataclass(frozen=True)
class Arm:
    """One checkpoint at one strength while choosing. `state`: chosen | tied | gate | ""."""

    arm: str
    step: int | None
    strength: float
    rate: Rate
    state: str = ""
    note: str = ""


@dataclass(frozen=True)
class Reading:
    """A verdict in the words of the report; see the module's note on missing parts."""

    version: int
    grid_version: int
    outcome: str
    sentence: str
    detail: str
    step: int | None
    strength: float | None
    rates: list[Rate] = field(default_factory=list)
    arms: list[Arm] = field(default_factory=list)
    goal: float | None = None
    threshold: float | None = None
    threshold_words: str = ""
    not_established: list[str] = field(default_factory=list)
    not_measured: list[dict[str, str]] = field(default_factory=list)
    measures: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    created_at: str = ""

    @property
    def claim(self) -> Rate | None:
        """The rate on fresh pictures, or None when it was not measured."""
        found = [r for r in self.rates if r.role == "claim" and r.share is not None]
        return found[0] if found else None

    @property
    def state(self) -> tuple[str, str, str]:
        """State in words, colour role and glyph."""
        return OUTCOMES.get(self.outcome, OUTCOMES["not_enough"])


def _rate(data: dict[str, Any]) -> Rate:
    measured = data.get("hits") is not None and data.get("n")
    return Rate(
        name=data.get("name", ""),
        note=data.get("note", ""),
        hits=data["hits"] if measured else None,
        n=data["n"] if measured else None,
        low=data.get("low") or 0.0,
        high=1.0 if data.get("high") is None else data["high"],
        role=data.get("role", "claim"),
        reason=data.get("reason") or "",
    )


def read(record: VerdictRecord) -> Reading:
    """The verdict's data as a `Reading`."""
    data = record.data
    chosen = data.get("chosen") or {}
    threshold = data.get("threshold") or {}
    return Reading(
        version=record.version,
        grid_version=record.grid_version,
        outcome=data.get("outcome", "not_enough"),
        sentence=data.get("sentence", ""),
        detail=data.get("detail", ""),
        step=chosen.get("step"),
        strength=chosen.get("strength"),
        rates=[_rate(r) for r in data.get("rates", [])],
        arms=[
            Arm(
                a["arm"],
                a.get("step"),
                a["strength"],
                _rate(a),
                a.get("state", ""),
                a.get("note", ""),
            )
            for a in data.get("arms", [])
        ],
        goal=data.get("goal"),
        threshold=threshold.get("value"),
        threshold_words=threshold.get("words", ""),
        not_established=list(data.get("not_established", [])),
        not_measured=list(data.get("not_measured", [])),
        measures=list(data.get("measures", [])),
        settings=dict(data.get("settings", {})),
        created_at=record.created_at,
    )
