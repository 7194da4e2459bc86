"""What a symptom rests on: facts with their numbers, tests that use them, and the diagnosis.

In: numbers and words. Out: frozen records that become JSON.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

State = Literal["found", "not found", "insufficient evidence"]


@dataclass(frozen=True)
class Fact:
    """One measured thing. `id`: how answers cite it; `pictures`: paths inside the project."""

    id: str
    text: str
    source: str
    value: float | None = None
    unit: str = ""
    interval: tuple[float, float] | None = None
    n: int | None = None
    pictures: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """All fields; the interval as a list, None where there is none."""
        row = asdict(self)
        row["interval"] = list(self.interval) if self.interval else None
        row["pictures"] = list(self.pictures)
        return row


@dataclass(frozen=True)
class Test:
    """One question put to the records. holds: True = this is the symptom, False = it is not,
    None = the records cannot say; then `reason` and `how` say why and how to get it.

    cause: what it points to when it holds; `rule`: the threshold's name in `rules.RULES`;
    `weight`: as how many signs a yes counts, where a symptom wants several.
    """

    fact: Fact
    holds: bool | None
    rule: str = ""
    cause: str = ""
    reason: str = ""
    how: str = ""
    weight: int = 1


@dataclass(frozen=True)
class Step:
    """One remedy made for this project. size: the change in numbers; command: ready to paste."""

    id: str
    says: str
    size: str
    cost: str
    command: str
    source: str
    tag: str
    changes: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """All fields."""
        return asdict(self)


@dataclass(frozen=True)
class Diagnosis:
    """One symptom: is it there, on what evidence, why, and what helps, cheapest first."""

    id: str
    name: str
    signs: str
    state: State
    tests: tuple[Test, ...]
    cause: str = ""
    remedies: tuple[Step, ...] = ()

    @property
    def facts(self) -> list[Fact]:
        """The measured facts, those that hold first."""
        ordered = sorted(self.tests, key=lambda t: (t.holds is not True, t.holds is None))
        return [t.fact for t in ordered if t.holds is not None]

    @property
    def missing(self) -> list[dict[str, str]]:
        """What would be needed and was not measured: {what, reason, how}."""
        return [
            {"what": t.fact.text, "reason": t.reason, "how": t.how}
            for t in self.tests
            if t.holds is None
        ]

    def as_json(self) -> dict[str, Any]:
        """The diagnosis as `limner advise --json` shows it."""
        evidence = []
        for test in self.tests:
            if test.holds is None:
                continue
            evidence.append({**test.fact.as_json(), "holds": test.holds, "rule": rule_of(test)})
        return {
            "id": self.id,
            "name": self.name,
            "signs": self.signs,
            "state": self.state,
            "evidence": evidence,
            "cause": self.cause,
            "remedies": [step.as_json() for step in self.remedies],
            "missing": self.missing,
        }


def rule_of(test: Test) -> dict[str, Any] | None:
    """Name, source and tag of a test's threshold; None when it has none."""
    from limner.advice.rules import RULES

    if not test.rule:
        return None
    rule = RULES[test.rule]
    return {"name": test.rule, "tag": rule.tag, "source": rule.source, "meaning": rule.meaning}
