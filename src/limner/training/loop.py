"""The updates of one run, from its last state to its last step, whatever happens on the way.

In: `Work` and a trainer. Out: checkpoints, measures, records, a state to go on from. A kill loses
at most the steps since the last state; run again, and the final weights are the same bytes.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

from limner.errors import WorkFailedError
from limner.events import Event, Notice, Ticker
from limner.models import lora
from limner.project.records import Checkpoint
from limner.training import arithmetic, control, metrics, recover, stamp, state, timing
from limner.training.planning import pace_folder
from limner.training.recover import Change
from limner.training.trainer import StepResult, Trainer
from limner.training.work import Work

SHOW_EVERY_S = 0.2
PAUSE_LOOK_S = 0.5
SMOOTHED_STEPS = 50


class Loop:
    """Drives a trainer; `run` is the whole story. `done`: updates made so far."""

    def __init__(self, work: Work, trainer: Trainer) -> None:
        self.work, self.trainer, self.config = work, trainer, work.config
        self.place = work.models / state.FILE
        self.changes = recover.from_record(work.run.config)
        self.marks = {m.step: m for m in marks_of(work)}
        self.done = 0
        self.whole = True
        """False while an update is under way: then no state may be written."""
        self.recent: list[float] = []
        self.paces: list[float] = []
        self.held_seconds = 0.0
        self.header = work.header

    def run(self, stop_after: int | None) -> Generator[Event, None, bool]:
        """All updates to the end, or `stop_after` of them; True when the last one was made."""
        self._load()
        last = min(self.config.steps, self.done + stop_after) if stop_after else self.config.steps
        self.log = metrics.Metrics(self.work.logs, self.done, self.config)
        self.ticker = Ticker("training", self.config.steps, already=self.done)
        self.saved_at = self.shown_at = time.monotonic()
        try:
            with control.keyboard() as keys:
                yield from self._updates(last, keys)
            remember_pace(self.work, self.paces, self.held_seconds)
        except (KeyboardInterrupt, GeneratorExit):
            if self.whole:
                self._save()
            raise
        finally:
            self.log.close()
        return self.done == self.config.steps

    def _updates(self, last: int, keys: control.Keyboard) -> Iterator[Event]:
        self._first_loss()
        while self.done < last:
            result, trouble = self._step()
            if trouble is not None:
                yield from self._less_memory(trouble)
            elif result is None or not result.finite:
                yield from self._roll_back(self.done + 1)
            else:
                self._count(result)
                yield from self._show(result.step == last)
            if keys.pressed:
                raise KeyboardInterrupt  # `run` writes the state
            asked = control.asked(self.work.project)
            if asked == "pause":
                yield from self._pause(keys)
            if asked == "stop":
                control.ask(self.work.project, None)
                break
        self._save()

    def _first_loss(self) -> None:
        if self.done == 0:
            began = time.monotonic()
            self._held_out(0)
            self.held_seconds = time.monotonic() - began

    def _load(self) -> None:
        self.done = state.load_or_start(self.trainer, self.place, self.config)
        if self.done in self.marks and state.step_of(self.work.models / state.GOOD) != self.done:
            state.keep_good(self.work.models)  # killed between the two
        recover.apply(self.trainer, self.changes)
        if self.trainer.team is not None:
            changes = [c.as_json() for c in self.changes]
            self.trainer.team.say(do="load", file=str(self.place.resolve()), changes=changes)

    def _step(self) -> tuple[StepResult | None, MemoryError | None]:
        """The next update; (None, error) when memory ran out before anything was changed."""
        self.whole = False
        began = time.monotonic()
        if self.trainer.team is not None:
            self.trainer.team.say(do="step", step=self.done + 1)
        try:
            result = self.trainer.step(self.done + 1)
        except MemoryError as error:
            self.whole = True
            # a new one: the old one's traceback holds every tensor of the step that failed
            return None, MemoryError(str(error))
        except RuntimeError as error:
            if not recover.is_out_of_memory(error):
                raise
            # in the update itself: weights may be half moved, so the last state is the newest good
            raise WorkFailedError(
                f"Memory ran out in the optimizer's update of step {self.done + 1}",
                where=f"run {self.work.run.version}",
                fix="Free memory, or lower training.rank; then run `limner train` again.",
            ) from None
        self.paces.append(time.monotonic() - began)
        if not result.finite:
            self.whole = True
        return result, None

    def _count(self, result: StepResult) -> None:
        """Write down an update that was made, and what is due after it."""
        self.done += 1
        self.whole = True
        if result.skipped:
            self.log.add(self.done, skipped=1, learning_rate=result.learning_rate)
        else:
            self.log.add(
                self.done,
                loss=result.loss,
                grad_norm=result.grad_norm,
                learning_rate=result.learning_rate,
            )
            self.recent = [*self.recent[-SMOOTHED_STEPS + 1 :], result.loss]
        at_mark = self.done in self.marks
        if at_mark:
            self._checkpoint(self.marks[self.done])
        if at_mark or time.monotonic() - self.saved_at > self.config.values["state_every_s"]:
            self._save()
        if at_mark:
            state.keep_good(self.work.models)

    def _show(self, now: bool) -> Iterator[Event]:
        smooth = sum(self.recent) / len(self.recent) if self.recent else float("nan")
        event = self.ticker.tick(note=f"loss {smooth:.3f}")
        if now or self.done in self.marks or time.monotonic() - self.shown_at > SHOW_EVERY_S:
            self.shown_at = time.monotonic()
            yield event

    def _save(self) -> None:
        state.save_trainer(self.trainer, self.place, self.config, self.done)
        self.saved_at = time.monotonic()

    # ---- trouble

    def _journal(self, change: Change) -> None:
        """Write a change into the run's record, then put it into force."""
        self.changes.append(change)
        run, store = self.work.run, self.work.project.store
        config = {**run.config, "changes": [c.as_json() for c in self.changes]}
        store.update_run(run.version, config=config)
        self.work.run = replace(run, config=config)

    def _less_memory(self, error: MemoryError) -> Iterator[Event]:
        """Give up the next rung of the ladder. The state before it is written first, so that a
        run taken up later changes at the same step."""
        change = recover.next_rung(self.trainer, self.changes, self.done)
        if change is None:
            raise WorkFailedError(
                f"Memory is not enough for one picture at {self.config.resolution} px ({error})",
                where=f"run {self.work.run.version}, step {self.done + 1}",
                fix="Lower training.resolution, training.control_size or training.rank, or see "
                "docs/training_speed.md for smaller weights of the base.",
            )
        if self.trainer.device.type == "cuda":  # its pieces are too small for what comes next
            import torch

            torch.cuda.empty_cache()
        self._save()
        self._journal(change)
        self._load()
        yield Notice(f"Out of memory at step {self.done + 1}: {change.words()}.", "warning")

    def _roll_back(self, step: int) -> Iterator[Event]:
        """Loss or gradient is no number: back to the last checkpoint, without that step."""
        tries = int(self.config.values["rollbacks"])
        if sum(c.kind == "leave_out" for c in self.changes) >= tries:
            raise WorkFailedError(
                f"The loss or its gradient is no longer a finite number at step {step}, after "
                f"{tries} rollbacks",
                where=f"run {self.work.run.version}",
                fix="Lower training.learning_rate, or set training.precision to fp32; checkpoints "
                "and state before this step are good.",
            )
        state.go_back(self.work.models)
        good = state.step_of(self.place) or 0
        change = Change("leave_out", good, step)
        self._journal(change)
        self._load()
        self.log.close()
        self.log = metrics.Metrics(self.work.logs, self.done, self.config)
        self.ticker = Ticker("training", self.config.steps, already=self.done)
        self._first_loss()
        yield Notice(
            f"The loss or its gradient at step {step} is no finite number: back to step {good}; "
            f"{change.words()}.",
            "warning",
        )

    def _pause(self, keys: control.Keyboard) -> Iterator[Event]:
        """Wait, with the state written, until the wish to pause is taken back."""
        self._save()
        yield Notice(f"Paused after step {self.done}; `limner train --resume` goes on.")
        while control.asked(self.work.project) == "pause":
            if keys.pressed:
                raise KeyboardInterrupt
            time.sleep(PAUSE_LOOK_S)
        yield Notice(f"Going on after step {self.done}.")

    # ---- what is kept

    def _held_out(self, step: int) -> dict[str, Any]:
        try:
            found = self.trainer.held_out_loss()
        except MemoryError:
            return {"held_out_loss": None, "reason": "not enough memory"}
        if found is None:
            return {"held_out_loss": None, "reason": "the dataset holds no picture out"}
        values = {"held_out_loss": found.loss, "held_out_by_sigma": found.by_sigma}
        if found.trained is not None:
            values |= {
                "trained_loss": found.trained,
                "trained_by_sigma": found.trained_by_sigma,
                "gap": found.trained - found.loss,
            }
        self.log.add(step, **values, held_out_pictures=found.pictures)
        return values

    def _checkpoint(self, mark: arithmetic.Mark) -> None:
        """File, measures, record. Written again after a kill: the same bytes."""
        work = self.work
        path = work.models / f"step_{mark.step:06d}.safetensors"
        weights = {n: p.detach().float().cpu().numpy() for n, p in self.trainer.published().items()}
        # a LoRA is as precise as the base it is added to: fp32 on a CPU, bf16 on a GPU
        dtype = "F32" if work.config.device == "cpu" else "BF16"
        sha256 = lora.save(path, weights, stamp.at_step(self.header, mark.step), dtype=dtype)
        measured = self._held_out(mark.step)
        if work.sampler is not None:
            with self.trainer.as_published():
                work.sampler.draw(work.logs / "samples", mark.step)
        rows = [r for r in metrics.read(self.log.path) if "loss" in r and r["step"] <= mark.step]
        losses = [r["loss"] for r in rows[-(work.config.steps // len(work.config.checkpoints)) :]]
        facts = {
            "label": mark.label,
            "rank": work.config.rank,
            "loss": sum(losses) / len(losses) if losses else None,
            **measured,
        }
        work.project.store.put_checkpoint(
            Checkpoint(
                run_version=work.run.version,
                step=mark.step,
                path=work.project.relative(path),
                sha256=sha256,
                data=facts,
            )
        )


def marks_of(work: Work) -> list[arithmetic.Mark]:
    """The checkpoints of a run; what lies beyond its plan is named in the plan's "epochs"."""
    planned = work.run.config.get("planned", work.run.config["run"])
    first = arithmetic.checkpoint_marks(planned["steps"], len(planned["checkpoints"]))
    named = {m.step: m for m in first}
    whole = arithmetic.GUIDE_EPOCHS
    return [
        named.get(step)
        or arithmetic.Mark(step, f"epoch {round(whole * step / planned['steps'], 1):g} of {whole}")
        for step in work.config.checkpoints
    ]


def remember_pace(work: Work, paces: list[float], held_out: float) -> None:
    """Keep a pace for the next plan where no timing was made (a base too large to load for it)."""
    name = timing.key(work.config)
    if len(paces) > 1 and timing.read(pace_folder(work.project), name) is None:
        step = statistics.median(paces[1:])  # the first one compiles and allocates
        pace = timing.Pace(step, held_out, None, "run")
        timing.write(pace_folder(work.project), name, pace)
