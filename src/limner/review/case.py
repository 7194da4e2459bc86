"""What the judge works on: a take with its shot and reading, and what is found against it.

In: records and readings. Out: `Case`, `Finding`, `Judgement`. Pure data.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from limner.project.records import Measure, Shot, Take, Verdict3
from limner.review.measuring import Seen
from limner.vision.faces import Kind
from limner.vision.reading import Reading

Severity = Literal["reject", "look"]

TURNED = ("side", "back", "pure_back")
"""Angles at which a face is not judged: detectors and embedders fail in profile."""


@dataclass(frozen=True)
class Finding:
    """What one rule found. reject: a fault. look: a doubt, so a person decides. text: in words."""

    rule: str
    severity: Severity
    text: str


@dataclass(frozen=True)
class Case:
    """One take with its shot and what its file showed. trusted: a person kept it.

    name: how reasons call it (`take 3`, or a file name outside a project).
    """

    take: Take
    shot: Shot
    seen: Seen
    kind: Kind
    trusted: bool = False
    name: str = ""

    @property
    def reading(self) -> Reading | None:
        """What was read; None when the file cannot be judged."""
        return self.seen.reading

    @property
    def turned(self) -> bool:
        """The shot asks for a side or back view: what was found there may be an ear or hair, so
        nothing that is read off the face counts against the take."""
        return self.shot.attributes.get("angle") in TURNED

    @property
    def known_yaw(self) -> float | None:
        """Head turn by a drawing's own label, degrees: exact, so it stands above a detector's."""
        yaw = self.take.labels.get("yaw")
        return float(yaw) if isinstance(yaw, int | float) else None

    @property
    def called(self) -> str:
        """Its name in reasons."""
        return self.name or f"take {self.take.id}"


@dataclass
class Judgement:
    """What the rules say of one take. Faults reject, doubts leave it to a person."""

    case: Case
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    measures: dict[str, Measure] = field(default_factory=dict)
    merit: float = 0.0

    @property
    def verdict(self) -> Verdict3:
        """reject with any fault, undecided with any doubt, else keep."""
        worst = {finding.severity for finding in self.findings}
        return "reject" if "reject" in worst else "undecided" if worst else "keep"

    @property
    def reasons(self) -> list[str]:
        """What a person reads, faults first; a kept take says what was found."""
        order = sorted(self.findings, key=lambda finding: finding.severity != "reject")
        return [finding.text for finding in order] or [*self.notes]

    def found(self, rule: str, severity: Severity, text: str) -> None:
        """A rule is broken."""
        self.findings.append(Finding(rule, severity, text))

    def has(self, *rules: str) -> bool:
        """Whether a rule of these rejected it."""
        return any(f.rule in rules and f.severity == "reject" for f in self.findings)

    def value(self, name: str) -> float | None:
        """A measure's value, None when not measured."""
        measure = self.measures.get(name)
        return None if measure is None else measure.value

    def put(self, name: str, value: float | None, unit: str, reason: str = "") -> None:
        """Record a measure; None is "not measured" with its reason."""
        tool = self.case.reading.version if self.case.reading else ""
        if value is None:
            self.measures[name] = Measure(name, None, unit, reason or "not measured", tool)
        else:
            self.measures[name] = Measure(name, round(float(value), 5), unit, None, tool)
