"""What a run changes about itself when it runs out of memory or its loss is no number any more.

In: a trainer in trouble. Out: `Change`s, journaled with the run and applied again whenever it is
taken up, so that a run with changes is as repeatable as one without.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from limner.training import fast

if TYPE_CHECKING:
    from limner.training.trainer import Trainer

_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "bad_alloc")


@dataclass(frozen=True)
class Change:
    """One thing that differs from the plan in all steps after step `after`.

    kind: attention (value 0: the kernel that needs little memory), checkpointing (1: only block
    inputs are kept), less (so many rungs down from the run's fast choices), chunk (pictures at
    once), leave_out (a step that makes no update, at half the learning rate from `after` on).
    """

    kind: Literal["attention", "checkpointing", "less", "chunk", "leave_out"]
    after: int
    value: int

    def words(self) -> str:
        """What changed and what it costs, for the user."""
        if self.kind == "attention":
            return "attention uses the kernel that keeps no score matrix"
        if self.kind == "checkpointing":
            return (
                "only block inputs are kept (gradient checkpointing): a step takes a third longer"
            )
        if self.kind == "less":
            return f"blocks keep less, or wait in system memory (rung {self.value}): more time"
        if self.kind == "chunk":
            return f"a batch goes through {self.value} at a time: the same gradient, more time"
        return (
            f"step {self.value} is left out, and the learning rate is halved from step "
            f"{self.after + 1} on"
        )

    def as_json(self) -> dict[str, Any]:
        """A dict that JSON takes."""
        return asdict(self)


def from_record(config: Mapping[str, Any]) -> list[Change]:
    """The changes journaled in a run's record, oldest first."""
    return [Change(**row) for row in config.get("changes", [])]


def apply(trainer: Trainer, changes: Iterable[Change]) -> None:
    """Put all of a run's changes into force. Doing it twice is the same as once."""
    changes = list(changes)
    faults = [c for c in changes if c.kind == "leave_out"]
    trainer.skips = frozenset(c.value for c in faults)
    trainer.slower = tuple(c.after for c in faults)
    for change in changes:
        if change.kind == "attention":
            trainer.attention = "default"
        elif change.kind == "checkpointing":
            trainer.base.transformer.enable_gradient_checkpointing()
        elif change.kind == "chunk":
            trainer.chunk = change.value
    down = max((c.value for c in changes if c.kind == "less"), default=0)
    choice = _lower(trainer, down)
    if choice is not None and trainer.engine is not None and choice != trainer.engine.choice:
        trainer.install(choice)


def _lower(trainer: Trainer, rungs: int) -> fast.Choice | None:
    """A run's fast choices so many rungs down; None where it has none, or there is no such rung."""
    choice: fast.Choice | None = None
    if trainer.config.fast:
        choice = fast.choice_of(trainer.config.fast)
        for _ in range(rungs):
            choice = fast.less(choice, len(trainer.base.transformer.transformer_blocks))
            if choice is None:
                break
    return choice


def next_rung(trainer: Trainer, changes: Sequence[Change], after: int) -> Change | None:
    """What to give up next for memory, the cheapest in time first; None when nothing is left.

    Kernel, then checkpointing (in a run with fast choices: theirs, down to swapped blocks), then
    smaller chunks. None of them changes what is learned, only the order of sums.
    """
    had = [c.kind for c in changes]
    if trainer.attention == "math":
        return Change("attention", after, 0)
    if trainer.config.fast:
        down = had.count("less") + 1
        if _lower(trainer, down) is not None:
            return Change("less", after, down)
    elif not trainer.config.gradient_checkpointing and "checkpointing" not in had:
        return Change("checkpointing", after, 1)
    most = -(-trainer.config.batch // trainer.config.processes)
    now = min(trainer.chunk, most)
    if now > 1:
        return Change("chunk", after, -(-now // 2))
    return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, on a GPU or on a CPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)
