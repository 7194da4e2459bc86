"""What repeats, accumulation, epochs and steps mean to each trainer: one arithmetic for all.

In: an `Ask` (pictures, repeats, batch, accumulation, epochs or steps, trainer). Out: `RunCounts`:
optimizer updates, image passes, checkpoints with their file names, and the keys to write.

An update is one optimizer step; a pass is one picture through the model; a logged step is what the
trainer's own counter shows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from limner.errors import UsageError
from limner.training import arithmetic


@dataclass(frozen=True)
class Trainer:
    """How a trainer counts.

    flush: the short last group of an epoch makes an update of its own (kohya's family, by
    accelerate); otherwise groups run on into the next epoch. copies: each entry of its resolution
    list is another copy of the data. keep: files it keeps unless told otherwise, 0 = all.
    """

    name: str
    flush: bool
    copies: bool
    keep: int
    repeats_key: str
    accumulation_key: str
    length_key: str
    save_key: str
    keep_key: str
    source: str


TRAINERS: dict[str, Trainer] = {
    t.name: t
    for t in (
        Trainer(
            name="ai-toolkit",
            flush=False,
            copies=True,
            keep=5,
            repeats_key="datasets[].num_repeats",
            accumulation_key="train.gradient_accumulation",
            length_key="train.steps",
            save_key="save.save_every",
            keep_key="save.max_step_saves_to_keep",
            source="ai-toolkit 0.12.26: BaseSDTrainProcess, data_loader, config_modules",
        ),
        Trainer(
            name="musubi-tuner",
            flush=True,
            copies=False,
            keep=0,
            repeats_key="[[datasets]] num_repeats",
            accumulation_key="--gradient_accumulation_steps",
            length_key="--max_train_steps",
            save_key="--save_every_n_steps",
            keep_key="--save_last_n_steps",
            source="musubi-tuner 30c658c: training/trainer_base.py",
        ),
        Trainer(
            name="SimpleTuner",
            flush=True,
            copies=False,
            keep=5,
            repeats_key="repeats",
            accumulation_key="gradient_accumulation_steps",
            length_key="max_train_steps",
            save_key="checkpoint_step_interval",
            keep_key="checkpoints_total_limit",
            source="SimpleTuner 4.8.0: training/trainer.py, DATALOADER.md",
        ),
        Trainer(
            name="kohya",
            flush=True,
            copies=False,
            keep=0,
            repeats_key="folder name NUMBER_name",
            accumulation_key="--gradient_accumulation_steps",
            length_key="--max_train_steps",
            save_key="--save_every_n_steps",
            keep_key="--save_last_n_steps",
            source="kohya sd-scripts: train_network.py, the same formula as musubi-tuner's",
        ),
        Trainer(
            name="native",
            flush=False,
            copies=False,
            keep=0,
            repeats_key="(none: steps alone set the length)",
            accumulation_key="(none: training.batch)",
            length_key="training.steps",
            save_key="training.checkpoints",
            keep_key="training.keep",
            source="limner.training.order",
        ),
    )
}
_ALIASES = {"musubi": "musubi-tuner", "simpletuner": "SimpleTuner", "kohya-ss": "kohya"}
_ALIASES |= {"sd-scripts": "kohya", "limner": "native", "aitoolkit": "ai-toolkit"}


def trainer_named(name: str) -> Trainer:
    """The trainer of that name. Raises UsageError naming all of them."""
    known = {t.lower(): t for t in TRAINERS} | _ALIASES
    found = known.get(name.strip().lower())
    if found is None:
        raise UsageError(
            f"There is no trainer {name!r}",
            where="--trainer",
            fix=f"Use one of: {', '.join(TRAINERS)}.",
        )
    return TRAINERS[found]


@dataclass(frozen=True)
class DataSet:
    """One folder: pictures, and how often each is shown in one pass over the data."""

    images: int
    repeats: int = 1
    name: str = "character"


@dataclass(frozen=True)
class Ask:
    """What is asked for. One of epochs and steps; steps are the trainer's own counter.

    legacy: ai-toolkit's old key `gradient_accumulation_steps` instead of `gradient_accumulation`.
    keep: checkpoint files to keep; None = what the plan needs.
    """

    sets: tuple[DataSet, ...]
    batch: int = 1
    accumulation: int = 1
    epochs: int | None = None
    steps: int | None = None
    trainer: str = "native"
    resolutions: tuple[int, ...] = (1024,)
    checkpoints: int = 10
    keep: int | None = None
    legacy: bool = False
    output: str = "character"

    def __post_init__(self) -> None:
        checks = {
            "images": min((s.images for s in self.sets), default=0),
            "repeats": min((s.repeats for s in self.sets), default=0),
            "batch": self.batch,
            "accumulation": self.accumulation,
            "checkpoints": self.checkpoints,
            "epochs": 1 if self.epochs is None else self.epochs,
            "steps": 1 if self.steps is None else self.steps,
            "resolution": min(self.resolutions, default=0),
        }
        for name, value in checks.items():
            if value < 1:
                raise UsageError(
                    f"{name} must be at least 1", where=f"--{name}", fix="Give a positive number."
                )
        if (self.epochs is None) == (self.steps is None):
            raise UsageError(
                "A run's length is given by epochs or by steps",
                where="--epochs, --steps",
                fix="Give one of the two.",
            )


@dataclass(frozen=True)
class Save:
    """A checkpoint: the trainer's counter, updates and passes done by then, and the file."""

    step: int
    updates: int
    passes: int
    label: str
    file: str


@dataclass(frozen=True)
class RunCounts:
    """What a run amounts to in its trainer's own terms."""

    trainer: str
    images: int
    items_per_epoch: int
    batches_per_epoch: int
    logged_steps: int
    optimizer_steps: int
    image_passes: int
    epochs: float
    save_every: int
    keep_needed: int
    checkpoints: tuple[Save, ...]
    shares: dict[str, float]
    settings: dict[str, Any] = field(default_factory=dict)


def passes_of(draws: int, items: int, batches: int, batch: int) -> int:
    """Pictures in `draws` batches: whole rounds over the data plus a piece of the next one."""
    rounds, rest = divmod(draws, batches)
    return rounds * items + min(rest * batch, items)


def count(ask: Ask) -> RunCounts:
    """Updates, passes and checkpoints of a run. Raises UsageError for what cannot be.

    kohya's family: `steps = epochs x ceil(batches / accumulation)`; ai-toolkit draws `accumulation`
    batches a logged step (legacy key: one, with an update every `accumulation` of them) and knows
    no epochs; SimpleTuner's `repeats` counts the extra showings (0 = once).
    """
    trainer = trainer_named(ask.trainer)
    copies = len(ask.resolutions) if trainer.copies else 1
    shown = {s.name: s.images * s.repeats * copies for s in ask.sets}
    items = sum(shown.values())
    batches = sum(math.ceil(n / ask.batch) for n in shown.values())
    if trainer.name == "native":  # its batches are always full: they run on into the next round
        batches = math.ceil(items / ask.batch)
    group = ask.accumulation
    if ask.legacy and trainer.name != "ai-toolkit":
        raise UsageError("Only ai-toolkit has the legacy accumulation key", where="--legacy")
    logged = _logged(ask, trainer, batches)

    def at(step: int) -> tuple[int, int]:
        return _done(ask, trainer, step, items, batches)

    updates, passes = at(logged)
    every = math.ceil(logged / min(ask.checkpoints, logged))
    saves = _saves(ask, trainer, logged, every, at)
    numbered = len(saves) - 1 if trainer.name == "ai-toolkit" else len(saves)
    if ask.keep is not None:
        arithmetic.refuse_pruning(numbered, ask.keep, where=f"--keep ({trainer.keep_key})")
    return RunCounts(
        trainer=trainer.name,
        images=sum(s.images for s in ask.sets),
        items_per_epoch=items,
        batches_per_epoch=batches,
        logged_steps=logged,
        optimizer_steps=updates,
        image_passes=passes,
        epochs=round(passes / items, 2),
        save_every=every,
        keep_needed=numbered,
        checkpoints=tuple(saves),
        shares={name: round(n / items, 4) for name, n in shown.items()},
        settings=_settings(ask, trainer, logged, every, numbered, group),
    )


def _logged(ask: Ask, trainer: Trainer, batches: int) -> int:
    """The trainer's own step counter at the end."""
    if ask.steps is not None:
        return ask.steps
    epochs = ask.epochs or 1
    if ask.legacy:
        return epochs * batches
    if trainer.flush:
        return epochs * math.ceil(batches / ask.accumulation)
    return math.ceil(epochs * batches / ask.accumulation)


def _done(ask: Ask, trainer: Trainer, step: int, items: int, batches: int) -> tuple[int, int]:
    """(updates, passes) when the trainer's counter has made `step` steps."""
    if ask.legacy:
        return step // ask.accumulation, passes_of(step, items, batches, ask.batch)
    if trainer.name == "native":
        return step, step * ask.batch * ask.accumulation
    if trainer.flush:
        a_round = math.ceil(batches / ask.accumulation)
        rounds, rest = divmod(step, a_round)
        return step, rounds * items + min(rest * ask.accumulation * ask.batch, items)
    return step, passes_of(step * ask.accumulation, items, batches, ask.batch)


def _saves(
    ask: Ask, trainer: Trainer, logged: int, every: int, at: Callable[[int], tuple[int, int]]
) -> list[Save]:
    """The files a run leaves, the last one at its end."""
    found = []
    for step in range(every, logged, every):
        # ai-toolkit numbers from 0: file 340 is written after the 341st step
        updates, passes = at(step + 1 if trainer.name == "ai-toolkit" else step)
        file = _file(trainer.name, ask.output, step)
        found.append(Save(step, updates, passes, _label(step, logged), file))
    updates, passes = at(logged)
    last = _file(trainer.name, ask.output, logged if _numbers_the_last(trainer.name) else None)
    return [*found, Save(logged, updates, passes, _label(logged, logged), last)]


def _label(step: int, logged: int) -> str:
    epoch = round(arithmetic.GUIDE_EPOCHS * step / logged, 1)
    return f"epoch {epoch:g} of {arithmetic.GUIDE_EPOCHS}"


def _numbers_the_last(trainer: str) -> bool:
    return trainer in ("SimpleTuner", "native")


def _file(trainer: str, name: str, step: int | None) -> str:
    """File name of a checkpoint; step None: the one written at the end."""
    if trainer == "SimpleTuner":
        return f"checkpoint-{step}/pytorch_lora_weights.safetensors"
    if trainer == "native":
        return f"step_{step:06d}.safetensors"
    if step is None:
        return f"{name}.safetensors"
    if trainer == "ai-toolkit":
        return f"{name}_{step:09d}.safetensors"
    return f"{name}-step{step:08d}.safetensors"


def _settings(
    ask: Ask, trainer: Trainer, logged: int, every: int, numbered: int, group: int
) -> dict[str, Any]:
    """The keys to write so that this trainer makes this run."""
    first = ask.sets[0]
    if trainer.name == "native":
        return {
            "training.steps": logged,
            "training.batch": ask.batch * group,
            "training.checkpoints": ask.checkpoints,
            "training.keep": 0 if ask.keep is None else ask.keep,
        }
    repeats = first.repeats - 1 if trainer.name == "SimpleTuner" else first.repeats
    accumulation = trainer.accumulation_key + ("_steps" if ask.legacy else "")
    found: dict[str, Any] = {trainer.length_key: logged, accumulation: group}
    found[trainer.repeats_key] = (
        f"{first.repeats}_{ask.output}" if trainer.name == "kohya" else repeats
    )
    found[trainer.save_key] = every
    if trainer.name in ("ai-toolkit", "SimpleTuner"):
        found[trainer.keep_key] = numbered if ask.keep is None else ask.keep
    return found
