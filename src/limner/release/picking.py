"""Another arm than the verdict's: a person may take a tied one, any other when told explicitly.

In: the newest verdict's `Reading` and a `Pick`. Out: the same reading about the picked arm. What
was measured on the verdict's own choice is said to be so, never passed on to the picked file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from limner.errors import UsageError
from limner.project import Project
from limner.project.records import Checkpoint
from limner.release.reading import Arm, Rate, Reading
from limner.release.receipt import RECEIPT_FILE

WHERE = "limner release --checkpoint"


@dataclass(frozen=True)
class Pick:
    """What a person wants released. checkpoint: `step_000300` or `300`; strength None: the
    verdict's where it drew the checkpoint at that one, else the lowest it drew."""

    checkpoint: str
    strength: float | None = None


def find(pick: Pick, checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The picked checkpoint of the run. Raises UsageError, naming those there are."""
    number = re.fullmatch(r"(?:step[_-]?)?(\d+)(?:\.safetensors)?", pick.checkpoint.strip())
    found = [c for c in checkpoints if number and c.step == int(number[1])]
    if not found:
        names = ", ".join(_name(c.step) for c in checkpoints) or "none yet"
        raise UsageError(
            f"The judged run has no checkpoint {pick.checkpoint!r}",
            where=WHERE,
            fix=f"Its checkpoints are: {names}.",
        )
    return found[0]


def standing(
    project: Project, pick: Pick | None = None, *, repository: str = "OWNER/NAME"
) -> dict[str, Any] | None:
    """The newest release, if it is of the newest verdict, still there, and of the picked
    checkpoint; None where it has to be made. Raises UsageError, with both commands to send it to
    `repository`, where nothing is picked and it holds another checkpoint than the verdict chose."""
    last, record = project.store.release(), project.store.verdict()
    if last is None or record is None or last.verdict_version != record.version:
        return None
    if not (project.root / last.path / RECEIPT_FILE).is_file():
        return None
    held = last.data.get("chosen") or {}
    has = (str(held.get("checkpoint")), held.get("strength"))
    if pick is not None:
        grid = project.store.grid(record.grid_version)
        points = project.store.checkpoints(grid.run_version) if grid else []
        wanted = _name(find(pick, points).step)
        same = wanted == has[0] and pick.strength in (None, has[1])
        return dict(last.data) if same else None
    chosen = record.data.get("chosen") or {}
    ours = (str(chosen.get("checkpoint")), chosen.get("strength"))
    if chosen.get("checkpoint") and has != ours:
        raise UsageError(
            f"The newest release, {last.path}, holds {_at(*has)}; the verdict chose {_at(*ours)}",
            where="limner release --push-hf",
            fix=f"To send that one: {_order(repository, *has)}. To send the verdict's: "
            f"{_order(repository, *ours)}.",
        )
    return dict(last.data)


def _at(name: str, strength: float | None) -> str:
    return name if strength is None else f"{name} at strength {strength:g}"


def _order(repository: str, name: str, strength: float | None) -> str:
    at = "" if strength is None else f" --strength {strength:g}"
    return f"limner release --push-hf {repository} --checkpoint {name}{at}"


def taken(
    read: Reading,
    pick: Pick,
    point: Checkpoint,
    *,
    force: bool,
    names: Mapping[int, str],
) -> Reading:
    """The reading as the release of the picked arm may tell it.

    names: step -> what a checkpoint is called. The verdict's own choice comes back unchanged.
    Raises UsageError for an arm that the verdict did not call tied with its choice, unless told to
    (`force`).
    """
    strength = _strength(read, pick, point.step)
    if (point.step, strength) == (read.step, read.strength):
        return read
    place = (point.step, strength)
    tie = next((t for t in read.tied if (t["step"], t.get("strength")) == place), None)
    arm = next((a for a in read.arms if (a.step, a.strength) == place), None)
    if tie is None and not force:
        raise UsageError(
            f"The verdict does not cover {_said(point.step, strength, names)}: "
            f"{_standing(arm, read)}",
            where=WHERE,
            fix=f"{_choices(read)} Or add --force; card and receipt then say who chose it.",
        )
    return _told(read, point.step, strength, arm, tie, names)


def _strength(read: Reading, pick: Pick, step: int) -> float:
    if pick.strength is not None:
        return pick.strength
    drawn = sorted(a.strength for a in read.arms if a.step == step)
    tied = sorted(float(t["strength"]) for t in read.tied if t["step"] == step)
    if read.strength is not None and read.strength in (tied or drawn):
        return read.strength
    return (tied or drawn or [read.strength or 1.0])[0]


def _told(
    read: Reading,
    step: int,
    strength: float,
    arm: Arm | None,
    tie: dict[str, Any] | None,
    names: Mapping[int, str],
) -> Reading:
    """Every word about the picked arm, or named as the verdict's choice's."""
    mine = _said(step, strength, names)
    theirs = _said(read.step or 0, read.strength or 0.0, names)
    link = f"{tie.get('word', 'tied')} with it" if tie else _standing(arm, read)
    claim = read.claim
    proof = f"{read.state[0].lower()}" + (f", {claim.words}" if claim else "")
    note = f"about {theirs}, the verdict's choice"
    same = step == read.step
    return replace(
        read,
        step=step,
        strength=strength,
        outcome="person",
        sentence=f"A person chose {mine}. The verdict chose {theirs}; {mine} is {link}.",
        detail=[f"The verdict's own words are about {theirs}: {read.sentence}", *read.detail],
        rates=[
            _own_rate(read, step, strength, arm, mine),
            *(_others(r, theirs) for r in read.rates),
        ],
        arms=[_arm(a, read, step, strength) for a in read.arms],
        measures=[{**m, "name": f"{m['name']} ({note})"} for m in read.measures],
        benchmarks=[_undecided(b, note) for b in read.benchmarks],
        strengths=read.strengths if same else [],
        styles=[],
        outfits=[],
        picked={
            "words": f"chosen by a person, {link}; {theirs}: {proof}",
            "tied": tie is not None,
            "checkpoint": _name(step),
            "strength": strength,
            "verdict_checkpoint": _name(read.step or 0),
            "verdict_strength": read.strength,
        },
    )


def _own_rate(read: Reading, step: int, strength: float, arm: Arm | None, mine: str) -> Rate:
    """What is known of the picked arm: the strength sweep's pictures, else those of choosing."""
    name = mine[:1].upper() + mine[1:]
    swept = [s for s in read.strengths if step == read.step and s["strength"] == strength]
    if swept:
        low, high = swept[0]["interval"]
        row = swept[0]
        return Rate(name, "fresh pictures", row["hits"], row["n"], low, high, "picked")
    if arm is None or arm.rate.share is None:
        return Rate(name, role="picked", reason="the verdict has no picture of it")
    note = "pictures of choosing, not fresh"
    return replace(arm.rate, name=name, note=note, role="picked")


def _others(rate: Rate, theirs: str) -> Rate:
    """The winner's own rates stay as its own; base, control and ceiling are nobody's."""
    if rate.role not in ("claim", "second", "untriggered"):
        return rate
    whose = "the verdict's choice" if rate.role == "claim" else theirs
    return replace(rate, role="other", note=", ".join(filter(None, [rate.note, whose])))


def _arm(arm: Arm, read: Reading, step: int, strength: float) -> Arm:
    if (arm.step, arm.strength) == (step, strength):
        return replace(arm, state="chosen", note="chosen by a person")
    if (arm.step, arm.strength) == (read.step, read.strength):
        return replace(arm, state="tied", note="the verdict's choice")
    return arm


def _undecided(row: dict[str, Any], note: str) -> dict[str, Any]:
    if row.get("state") != "measured":
        return row
    return {**row, "passed": None, "words": f"{note}: {row.get('words') or ''}"}


def _standing(arm: Arm | None, read: Reading) -> str:
    """What the verdict knows of an arm it does not call tied."""
    if arm is None:
        return "not among what it drew"
    if arm.state == "dropped":
        return arm.note
    if arm.mean is None:
        return "not tied with its choice"
    best = next((a.mean for a in read.arms if a.state == "chosen"), None)
    beside = "" if best is None else f" beside {best:.2f}"
    return f"not tied with its choice (mean identity {arm.mean:.2f}{beside})"


def _choices(read: Reading) -> str:
    tied = [f"{_name(t['step'])} --strength {t['strength']:g}" for t in read.tied]
    return (
        f"Tied with its choice: {'; '.join(tied)}." if tied else "Nothing is tied with its choice."
    )


def _name(step: int) -> str:
    return f"step_{step:06d}"


def _said(step: int, strength: float, names: Mapping[int, str]) -> str:
    return f"{names.get(step, f'step {step:,}')} at strength {strength:g}"
