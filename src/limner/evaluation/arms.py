"""What is compared, and one picture's result: the two words that all of the evaluation shares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["checkpoint", "base", "control", "untriggered", "styled"]


@dataclass(frozen=True, order=True)
class Arm:
    """One thing that is compared: a checkpoint at a strength, the base model, the control, the
    winner without its trigger word, or stacked with the style LoRA number `step`."""

    step: int
    strength: float
    kind: Kind = "checkpoint"
    called: str = field(default="", compare=False)
    """What sentences say for `step N`; empty: that."""

    @property
    def name(self) -> str:
        """As the renders call it: `step_000100`, `base`, `control`."""
        if self.kind == "styled":
            return f"styled_{self.step}"
        return f"step_{self.step:06d}" if self.kind == "checkpoint" else self.kind

    @property
    def words(self) -> str:
        """As a person says it."""
        mine = self.called or f"step {self.step:,}"
        if self.kind == "checkpoint":
            return f"{mine} at strength {self.strength:g}"
        return {"base": "the base model", "control": "the negative control"}.get(
            self.kind, f"{mine} without its trigger"
        )


BASE = Arm(-1, 0.0, "base")


@dataclass(frozen=True)
class Judged:
    """One picture's result. `score`: similarity to the character, for a lost face the score of a
    median stranger; `match`: verified; `second`: the other embedder's answer, None = no answer;
    `copy`: nearly a training picture."""

    arm: Arm
    prompt_id: str
    seed: int
    score: float
    match: bool
    face: bool
    second: bool | None = None
    copy: bool = False
    freedom: float | None = None
    """Share of what was asked for and kept (angle, framing, one face), 0 for a copy of a training
    picture; None where the prompt asks for none of it."""

    @property
    def cell(self) -> tuple[str, int]:
        """What is paired between arms."""
        return self.prompt_id, self.seed
