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
    "person": ("Chosen by a person", "", "g-close"),
}
"""Outcome -> state in words, colour role, glyph (components 10). `person`: see picking.py."""


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
    """One checkpoint at one strength while choosing. `state`: chosen | tied | dropped | "".

    mean: mean identity, by which checkpoints are chosen; None = not measured.
    """

    arm: str
    step: int | None
    strength: float
    rate: Rate
    state: str = ""
    note: str = ""
    mean: float | None = None


@dataclass(frozen=True)
class Reading:
    """A verdict in the words of the report; see the module's note on missing parts."""

    version: int
    grid_version: int
    outcome: str
    sentence: str
    detail: list[str]
    step: int | None
    strength: float | None
    rates: list[Rate] = field(default_factory=list)
    arms: list[Arm] = field(default_factory=list)
    goal: float | None = None
    embedder: str | None = None
    threshold: float | None = None
    threshold_words: str = ""
    not_established: list[str] = field(default_factory=list)
    not_measured: list[dict[str, str]] = field(default_factory=list)
    measures: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, Any] = field(default_factory=dict)
    benchmarks: list[dict[str, Any]] = field(default_factory=list)
    styles: list[dict[str, Any]] = field(default_factory=list)
    strengths: list[dict[str, Any]] = field(default_factory=list)
    outfits: list[dict[str, Any]] = field(default_factory=list)
    tied: list[dict[str, Any]] = field(default_factory=list)
    onward: list[dict[str, str]] = field(default_factory=list)
    """What to do next, for whoever holds the project: {says, command}."""
    created_at: str = ""
    picked: dict[str, Any] | None = None
    """Set when a person chose another arm than the verdict: {words, tied, checkpoint, strength}
    with the verdict's own `verdict_checkpoint` and `verdict_strength`."""

    @property
    def claim(self) -> Rate | None:
        """The rate on fresh pictures, or None when it was not measured."""
        found = [r for r in self.rates if r.role == "claim" and r.share is not None]
        return found[0] if found else None

    @property
    def state(self) -> tuple[str, str, str]:
        """State in words, colour role and glyph."""
        return OUTCOMES.get(self.outcome, OUTCOMES["not_enough"])

    @property
    def label(self) -> str:
        """What stands over the sentence: the state, unless the sentence opens with it."""
        return "Verdict" if self.sentence.startswith(self.state[0]) else self.state[0]

    @property
    def said(self) -> str:
        """State and sentence, the state once."""
        return self.sentence if self.label == "Verdict" else f"{self.state[0]}. {self.sentence}"


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
    doubts = list(data.get("not_established") or [])
    said = data.get("reservations")
    detail = [line for line in said if line not in doubts] if said else [data.get("detail") or ""]
    return Reading(
        version=record.version,
        grid_version=record.grid_version,
        outcome=data.get("outcome") or "not_enough",
        sentence=data.get("sentence") or "",
        detail=[line for line in detail if line],
        step=chosen.get("step"),
        strength=chosen.get("strength"),
        rates=[_rate(r) for r in data.get("rates") or []],
        arms=[_arm(a, data) for a in data.get("arms") or []],
        goal=data.get("goal"),
        embedder=data.get("embedder"),
        threshold=data.get("threshold"),
        threshold_words=data.get("threshold_words") or "",
        not_established=doubts,
        not_measured=list(data.get("not_measured") or []),
        measures=[_measure(m) for m in data.get("measures") or []],
        settings=dict(data.get("settings") or {}),
        benchmarks=[b for b in data.get("benchmarks") or [] if isinstance(b, dict)],
        styles=[s for s in data.get("styles") or [] if s.get("difference") is not None],
        strengths=[s for s in data.get("strengths") or [] if s.get("n")],
        outfits=[o for o in data.get("outfits") or [] if o.get("n")],
        tied=[t for t in data.get("tied") or [] if t.get("step") is not None],
        onward=[dict(row) for row in data.get("next") or []],
        created_at=record.created_at,
    )


UNITS = {"share": "%", "ratio": "times", "0-1": "of 1", "M": ""}
"""Unit of a measure -> as a reader says it. M, the copy index, has no unit: its name says it."""


def _measure(row: dict[str, Any]) -> dict[str, Any]:
    """A measure with its words: value with unit, interval, reading."""
    value, unit = row.get("value"), row.get("unit") or ""
    low, high = row.get("interval") or (None, None)
    as_percent, unit = unit == "share", UNITS.get(unit, unit)

    def said(number: float) -> str:
        return f"{100 * number:z.1f}" if as_percent else f"{number:z.3f}"

    words = ""
    if value is not None:
        words = "under 0.001" if unit == "p" and value < 0.001 else said(value)
        words = f"{words} {unit}".strip() if unit != "p" else words
    span = "" if low is None or high is None else f"{said(low)} to {said(high)}"
    span += " %" if span and as_percent else ""
    notes = [f"{row['n']} pairs" if row.get("n") else "", row.get("note") or ""]
    reason = row.get("reason") or "not measured"
    return {
        "name": row.get("name", ""),
        "value": value,
        "words": words,
        "span": span,
        "reading": ", ".join(filter(None, notes)) if value is not None else reason,
    }


def _arm(row: dict[str, Any], data: dict[str, Any]) -> Arm:
    """One arm with the words that stand under its name."""
    tied = [t for t in data.get("tied") or [] if t.get("step") is not None]
    state = row.get("state") or ("dropped" if row.get("status") == "dropped" else "")
    note = ""
    if state == "chosen":
        note = "chosen: earliest tied" if tied else "chosen"
    elif state == "tied":
        mine = [t for t in tied if (t["step"], t.get("strength")) == _place(row)]
        word = mine[0].get("word", "tied") if mine else "tied"
        note = f"{word} with {data['chosen']['step']:,}"
    elif state == "dropped":
        note = f"dropped after {row.get('n', 0)} pictures"
    return Arm(
        arm=row["arm"],
        step=row.get("step"),
        strength=row["strength"],
        rate=_rate(row),
        state=state,
        note=note,
        mean=row.get("mean_score"),
    )


def _place(row: dict[str, Any]) -> tuple[Any, Any]:
    return row.get("step"), row.get("strength")
