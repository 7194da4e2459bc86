"""The records of a project, one frozen dataclass a table.

Paths are relative to the project folder; times are UTC, ISO 8601.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

Author = Literal["rule", "model", "person"]
Verdict3 = Literal["keep", "reject", "undecided"]


@dataclass(frozen=True)
class Shot:
    """One planned picture. `attributes`: axis -> value id (plus gaze); `state`: open | kept."""

    id: str
    position: int
    attributes: dict[str, str]
    prompt: str
    seed: int
    face_visible: bool = True
    state: str = "open"
    hint: str = ""


@dataclass(frozen=True)
class Take:
    """One picture made for a shot. `state`: pending (journaled, not yet made) | done | failed."""

    id: int
    shot_id: str
    source: str
    attempt: int
    seed: int
    state: str = "pending"
    request: dict[str, Any] = field(default_factory=dict)
    path: str | None = None
    sha256: str | None = None
    width: int | None = None
    height: int | None = None
    labels: dict[str, Any] = field(default_factory=dict)
    error: str | None = None
    created_at: str = ""
    finished_at: str | None = None

    def asked(self, shot: Shot) -> Shot:
        """The shot as this take was asked for: it may have been planned anew or rewritten since.

        The shot itself where the take does not say what was asked (older drop-in pictures).
        """
        if "attributes" not in self.request or "prompt" not in self.request:
            return shot
        swapped = self.labels.get("substituted", {})
        attributes = {
            **self.request["attributes"],
            **{axis: change["asked"] for axis, change in swapped.items()},
        }
        return replace(shot, attributes=attributes, prompt=self.request["prompt"])


@dataclass(frozen=True, slots=True)
class Measure:
    """One number read off a picture. `value` None = not measured, then `reason` says why."""

    name: str
    value: float | None
    unit: str = ""
    reason: str | None = None
    tool: str = ""


@dataclass(frozen=True)
class Decision:
    """keep | reject | undecided on a take; the newest counts, a person's beats a rule's."""

    id: int
    take_id: int
    verdict: Verdict3
    reasons: list[str]
    author: Author
    created_at: str = ""


@dataclass(frozen=True)
class Caption:
    """The text beside a take; the newest counts. `dropped`: [{text, reason}] left out of it."""

    id: int
    take_id: int
    text: str
    author: Author
    dropped: list[dict[str, str]] = field(default_factory=list)
    created_at: str = ""


@dataclass(frozen=True)
class Dataset:
    """A numbered training folder with its lock. `held_out`: takes kept as references."""

    version: int
    path: str
    lock_sha256: str
    lock: dict[str, Any]
    train: list[int]
    held_out: list[int]
    created_at: str = ""


@dataclass(frozen=True)
class Plan:
    """A numbered training plan: steps, passes, checkpoints, memory, hours."""

    version: int
    dataset_version: int
    data: dict[str, Any]
    created_at: str = ""


@dataclass(frozen=True)
class Run:
    """A numbered training run. `state`: running | done | failed | stopped."""

    version: int
    plan_version: int
    dataset_version: int
    trainer: str
    state: str
    config: dict[str, Any]
    path: str
    error: str | None = None
    created_at: str = ""
    finished_at: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """One LoRA file of a run. `step` = optimizer updates done, or the epoch or place of a file
    trained elsewhere that does not say them (`data["counted_in"]`)."""

    run_version: int
    step: int
    path: str
    sha256: str
    data: dict[str, Any] = field(default_factory=dict)

    @property
    def in_updates(self) -> bool:
        """Whether `step` is optimizer updates, neither an epoch nor a place."""
        return bool(self.data.get("counted_in", "updates") == "updates")

    @property
    def named(self) -> tuple[str, str]:
        """As a table names it, and what is written under that: `1,200` `steps`, `epoch 5`,
        `grace.safetensors`."""
        unit = self.data.get("counted_in", "updates")
        if unit == "order":
            return str(self.data.get("file") or self.path), ""
        return (f"epoch {self.step:,}", "") if unit == "epochs" else (f"{self.step:,}", "steps")

    @property
    def called(self) -> str:
        """As a sentence names it: `step 1,200`, `epoch 5`, `the file grace.safetensors`."""
        name, unit = self.named
        if self.data.get("counted_in") == "order":
            return f"the file {name}"
        return f"step {name}" if unit else name


@dataclass(frozen=True)
class Grid:
    """A numbered evaluation: the pictures asked for and the settings they share."""

    version: int
    run_version: int
    settings: dict[str, Any]
    created_at: str = ""


@dataclass(frozen=True)
class Render:
    """One picture of a grid. `arm`: base | control | step_000100; `phase`: choose | claim."""

    id: int
    grid_version: int
    key: str
    phase: str
    arm: str
    step: int | None
    strength: float
    prompt_id: str
    prompt: str
    seed: int
    state: str = "pending"
    path: str | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class VerdictRecord:
    """A numbered verdict: the choice with its uncertainty (see limner.evaluation)."""

    version: int
    grid_version: int
    data: dict[str, Any]
    created_at: str = ""


@dataclass(frozen=True)
class Release:
    """A numbered bundle."""

    version: int
    verdict_version: int
    path: str
    data: dict[str, Any]
    created_at: str = ""


@dataclass(frozen=True)
class EventRecord:
    """One line of the project's diary."""

    id: int
    at: str
    stage: str
    kind: str
    data: dict[str, Any]
