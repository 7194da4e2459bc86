"""Where a project stands: every stage's state and counts, and the one next action.

In: a `Project` (its records, and which files are there: no pydantic, no heavy import).
Out: a JSON-able dict.
"""

from __future__ import annotations

import fcntl
import json
import shlex
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from limner.errors import InputError
from limner.pipeline import recovery
from limner.project import Project, texts
from limner.project.folder import ASKED_FILE
from limner.project.records import Decision, Shot, Take

STAGES = (
    "shots",
    "sources",
    "review",
    "captions",
    "dataset",
    "training",
    "evaluation",
    "release",
)
"""The stages in the order of the work."""

MAX_ATTEMPTS = 3
"""Pictures tried for one shot before `next` stops asking for more (starting value)."""


@dataclass(frozen=True)
class Stage:
    """One row of the status. `command`: what brings this stage on, without `limner`. `state`:
    waiting (for an earlier stage), ready, partial, running, stale (made from older records) or
    done."""

    name: str
    state: str
    counts: dict[str, int]
    command: str = ""
    why: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The row as `--json` shows it."""
        return {"name": self.name, "state": self.state, "counts": self.counts}


@dataclass
class Facts:
    """The records that the rows are made of, read once."""

    project: Project
    shots: list[Shot] = field(init=False)
    takes: list[Take] = field(init=False)
    standing: dict[int, Decision] = field(init=False)

    def __post_init__(self) -> None:
        store = self.project.store
        self.shots = store.shots()
        self.takes = store.takes()
        self.standing = store.standing_decisions()
        self.captions = store.captions()
        self.dataset = store.dataset()
        self.plan = store.plan()
        self.run = store.run()
        self.grid = store.grid()
        self.verdict = store.verdict()
        self.release = store.release()
        self.source = _known(self.project)["source"]
        self.held, self.lost = self._lost()
        self.edited, self.unreadable = self._edited()

    def decided(self, verdict: str) -> list[Take]:
        """Finished takes whose standing decision is `verdict`."""
        return [t for t in self.takes if t.state == "done" and self._verdict(t) == verdict]

    def _verdict(self, take: Take) -> str | None:
        decision = self.standing.get(take.id)
        return decision.verdict if decision else None

    @property
    def open_questions(self) -> list[Take]:
        """Undecided takes of shots that have no kept one."""
        settled = {t.shot_id for t in self.decided("keep")}
        return [t for t in self.decided("undecided") if t.shot_id not in settled]

    @property
    def unjudged(self) -> list[Take]:
        """Finished takes without any decision."""
        return [t for t in self.takes if t.state == "done" and self._verdict(t) is None]

    def _lost(self) -> tuple[list[Take], list[Take]]:
        """(pictures gone from takes/ that a dataset still holds, those that it does not); of
        rejected ones nobody asks, and of open questions nobody once there is a dataset."""
        passed = ("reject", "undecided") if self.dataset else ("reject",)
        lost = [t for t in recovery.gone(self.project) if self._verdict(t) not in passed]
        found = recovery.copies(self.project, lost)
        return [t for t in lost if t.id in found], [t for t in lost if t.id not in found]

    def _edited(self) -> tuple[int, str]:
        """(captions changed in files and not read back, what of them cannot be read)."""
        try:
            return len({one.take_id for one in texts.edited(self.project)}), ""
        except InputError as error:
            return 0, str(error)

    @property
    def trained(self) -> set[int]:
        """Takes that a run was trained on: without their pictures the LoRA stands all the same."""
        version = self.run.dataset_version if self.run else 0
        dataset = self.project.store.dataset(version) if version else None
        return {*dataset.train, *dataset.held_out} if dataset else set()

    @property
    def wanted_back(self) -> list[Take]:
        """Gone pictures that the next dataset needs and nothing else holds."""
        return [t for t in self.lost if t.id not in self.trained]

    def missed(self) -> str:
        """What is gone and stops nothing; empty for nothing."""
        lost = [t for t in self.lost if t.id in self.trained]
        said = []
        if self.held:
            them = "it" if len(self.held) == 1 else "them"
            said.append(
                f"{_pictures(self.held)} gone from takes/; the dataset holds {them}, and the next "
                f"evaluation, dataset, release or archive puts {them} back."
            )
        if lost:
            it = "it" if len(lost) == 1 else "them"
            said.append(
                f"{_pictures(lost)} gone from takes/ and from the dataset: the trained LoRA "
                f"stands, but bring {it} back from an archive or a release's dataset zip before "
                "evaluating or building again."
            )
        return " ".join(said)

    @property
    def wanting(self) -> list[Shot]:
        """Shots that still need a picture: none kept, none waiting for a decision."""
        covered = {
            t.shot_id
            for t in self.takes
            if t.state == "done" and self._verdict(t) in (None, "keep", "undecided")
        }
        return [s for s in self.shots if s.id not in covered]

    @property
    def worth_trying(self) -> list[Shot]:
        """The wanting shots that were not tried `MAX_ATTEMPTS` times yet."""
        tries: dict[str, int] = {}
        for take in self.takes:
            if take.state != "pending":
                tries[take.shot_id] = tries.get(take.shot_id, 0) + 1
        taken_as_it_is = self._settled_without()
        return [
            s
            for s in self.wanting
            if tries.get(s.id, 0) < MAX_ATTEMPTS and s.id not in taken_as_it_is
        ]

    def _settled_without(self) -> set[str]:
        """Shots that were tried and of which the newest dataset, once trained, has no picture.

        Who trains on a set without them took it as it is; `limner generate` still makes them.
        """
        if self.dataset is None or self.run is None:
            return set()
        if self.run.dataset_version != self.dataset.version:
            return set()
        inside = {*self.dataset.train, *self.dataset.held_out}
        held = {t.shot_id for t in self.takes if t.id in inside}
        return {t.shot_id for t in self.takes if t.state == "done"} - held


def _pictures(takes: list[Take]) -> str:
    return "1 picture is" if len(takes) == 1 else f"{len(takes)} pictures are"


def _shots(facts: Facts) -> Stage:
    counts = {"shots": len(facts.shots), "kept": len({t.shot_id for t in facts.decided("keep")})}
    if not facts.shots:
        return Stage("shots", "ready", counts, "shots plan", "No pictures are planned yet.")
    return Stage("shots", "done", counts)


def _sources(facts: Facts) -> Stage:
    wanting = facts.worth_trying
    counts = {
        "takes": len(facts.takes),
        "done": sum(t.state == "done" for t in facts.takes),
        "pending": sum(t.state == "pending" for t in facts.takes),
        "failed": sum(t.state == "failed" for t in facts.takes),
        "wanting": len(facts.wanting),
    }
    if not facts.shots:
        return Stage("sources", "waiting", counts)
    if facts.held or facts.lost:
        counts["gone"] = len(facts.held) + len(facts.lost)
    if gone := facts.wanted_back:
        one = len(gone) == 1
        it = "it" if one else "them"
        why = f"{_pictures(gone)} gone from takes/: bring {it} back, or reject {it} and "
        again = "`limner generate` makes another." if one else "`limner generate` makes others."
        return Stage("sources", "partial", counts, f"reject {gone[0].id}", why + again)
    if not wanting and not counts["pending"]:
        return Stage("sources", "done", counts)
    why = f"{len(wanting)} of {len(facts.shots)} shots need a picture."
    state = "partial" if counts["done"] else "ready"
    if facts.source == "inbox":
        why = f"{why[:-1]}: put them into inbox/, made by shots/prompts.txt, or name their folder."
        return Stage("sources", state, counts, "inbox", why)
    return Stage("sources", state, counts, "generate", why)


def _review(facts: Facts) -> Stage:
    counts = {
        "keep": len(facts.decided("keep")),
        "reject": len(facts.decided("reject")),
        "undecided": len(facts.open_questions) + len(facts.unjudged),
    }
    if not counts["keep"] and not counts["reject"] and not counts["undecided"]:
        return Stage("review", "waiting", counts)
    if facts.unjudged:
        state = "partial" if counts["keep"] or counts["reject"] else "ready"
        return Stage(
            "review", state, counts, "review", f"{len(facts.unjudged)} pictures are not judged yet."
        )
    if counts["undecided"] and facts.dataset is None:  # afterwards the set was taken as it is
        take = facts.open_questions[0]
        them = "1 picture waits" if counts["undecided"] == 1 else f"{counts['undecided']} wait"
        why = f"{them} for your eye, in takes/contact_sheet.html: keep or reject."
        return Stage("review", "partial", counts, f"keep {take.id}", why)
    return Stage("review", "done", counts)


def _captions(facts: Facts) -> Stage:
    kept = facts.decided("keep")
    missing = [t for t in kept if t.id not in facts.captions]
    counts = {
        "captions": len(kept) - len(missing),
        "missing": len(missing),
        "person": sum(c.author == "person" for c in facts.captions.values()),
    }
    if not kept:
        return Stage("captions", "waiting", counts)
    if facts.edited:
        counts["edited"] = facts.edited
    if not missing and (facts.edited or facts.unreadable):
        them = "1 caption was" if facts.edited == 1 else f"{facts.edited} captions were"
        why = facts.unreadable or f"{them} changed in a file and not read back yet."
        return Stage("captions", "partial", counts, "captions compile", why)
    if not missing:
        return Stage("captions", "done", counts)
    why = f"{len(missing)} kept pictures have no caption."
    state = "partial" if counts["captions"] else "ready"
    return Stage("captions", state, counts, "captions compile", why)


def _dataset(facts: Facts) -> Stage:
    dataset = facts.dataset
    kept = {t.id for t in facts.decided("keep")}
    counts = {
        "versions": dataset.version if dataset else 0,
        "train": len(dataset.train) if dataset else 0,
        "held_out": len(dataset.held_out) if dataset else 0,
    }
    if dataset is None:
        ready = kept and all(t in facts.captions for t in kept)
        why = f"{len(kept)} kept pictures can become a dataset."
        return Stage("dataset", "ready" if ready else "waiting", counts, "dataset build", why)
    newer = any(c.created_at > dataset.created_at for t, c in facts.captions.items() if t in kept)
    if newer or kept != {*dataset.train, *dataset.held_out}:
        why = f"Pictures or captions changed since dataset {dataset.version}."
        return Stage("dataset", "stale", counts, "dataset build", why)
    return Stage("dataset", "done", counts)


def _training(facts: Facts) -> Stage:
    run, plan, dataset = facts.run, facts.plan, facts.dataset
    points = facts.project.store.checkpoints(run.version) if run else []
    counts = {
        "plans": plan.version if plan else 0,
        "runs": run.version if run else 0,
        "checkpoints": len(points),
    }
    if dataset is None:
        return Stage("training", "waiting", counts)
    if plan is None or plan.dataset_version != dataset.version:
        state = "stale" if run else "ready"
        return Stage("training", state, counts, "plan", f"Dataset {dataset.version} has no plan.")
    if run is None or run.plan_version != plan.version:
        state = "stale" if run else "ready"
        return Stage("training", state, counts, "train", f"Plan {plan.version} is not trained yet.")
    if run.state != "done":
        return Stage("training", "partial", counts, "train", f"Run {run.version} is not finished.")
    return Stage("training", "done", counts)


def _evaluation(facts: Facts) -> Stage:
    grid, verdict, run = facts.grid, facts.verdict, facts.run
    renders = facts.project.store.renders(grid.version) if grid else []
    counts = {
        "grids": grid.version if grid else 0,
        "renders": len(renders),
        "rendered": sum(r.state == "done" for r in renders),
        "verdicts": verdict.version if verdict else 0,
    }
    if run is None or run.state != "done":
        return Stage("evaluation", "waiting", counts)
    old = "stale" if verdict else "ready"
    trained_on = facts.project.store.dataset(run.dataset_version)
    if trained_on is not None and not trained_on.held_out:
        why = (
            f"Nothing was held back of dataset {trained_on.version} to judge run {run.version} by: "
            "set dataset.held_out in character.yaml to 3 or more, then build and train again."
        )
        return Stage("evaluation", old, counts, "dataset build", why)
    if grid is None or grid.run_version != run.version:
        why = f"The checkpoints of run {run.version} are not compared yet."
        return Stage("evaluation", old, counts, "evaluate", why)
    claimed = any(r.phase == "claim" for r in renders)
    if (
        counts["rendered"] < counts["renders"]
        or not claimed
        or _stopped(facts.project, run.version)
    ):
        why = f"Grid {grid.version} is not finished."
        return Stage("evaluation", "partial", counts, "evaluate", why)
    if verdict is None or verdict.grid_version != grid.version:
        state = "stale" if verdict else "partial"
        return Stage("evaluation", state, counts, "verdict", f"Grid {grid.version} has no verdict.")
    return Stage("evaluation", "done", counts)


def _stopped(project: Project, run: int) -> bool:
    """Whether the newest evaluation of the run was stopped between two of its parts."""
    try:
        asked = json.loads((project.root / ASKED_FILE).read_text(encoding="utf-8"))
        return bool(asked["run"] == run and not asked["done"])
    except (OSError, ValueError, TypeError, KeyError):
        return False


def _release(facts: Facts) -> Stage:
    release, verdict = facts.release, facts.verdict
    counts = {"releases": release.version if release else 0}
    if verdict is None:
        return Stage("release", "waiting", counts)
    if release is None or release.verdict_version != verdict.version:
        if verdict.data.get("outcome", "same_person") != "same_person":
            why = f"Verdict {verdict.version}: {verdict.data['word']}. The report says more."
            return Stage("release", "waiting", counts, "report", why)
        why = f"Verdict {verdict.version} is not released."
        return Stage("release", "stale" if release else "ready", counts, "release", why)
    return Stage("release", "done", counts)


_ROWS: tuple[Callable[[Facts], Stage], ...] = (
    *(_shots, _sources, _review, _captions, _dataset, _training, _evaluation, _release),
)


def held(project: Project, lock: str) -> bool:
    """Whether a process holds the stage's lock right now."""
    path = project.root / ".limner" / f"{lock}.lock"
    try:
        with path.open("r") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def stages(project: Project, facts: Facts | None = None) -> list[Stage]:
    """Every stage in order, with its own next command. facts: read already."""
    facts = facts or Facts(project)
    rows = []
    for name, row in zip(STAGES, _ROWS, strict=True):
        stage = row(facts)
        if held(project, name):
            stage = Stage(name, "running", stage.counts)
        rows.append(stage)
    return rows


def next_stage(rows: list[Stage]) -> Stage | None:
    """The first stage that can go on; None when all is done or something is running."""
    if any(row.state == "running" for row in rows):
        return None
    able = [row for row in rows if row.command and row.state != "waiting"]
    return next(iter(able), rows[-1] if rows[-1].command else None)


def status(project: Project, *, directory: str | None = None) -> dict[str, Any]:
    """`{name, root, stages, next, why}`; `next` is a whole command, or None.

    directory: what the user gave to -C, so that `next` can be pasted as it stands.
    """
    facts = Facts(project)
    rows = stages(project, facts)
    going = next_stage(rows)
    prefix = ["limner", *(["-C", shlex.quote(directory)] if directory else [])]
    if going is not None:
        then, why = " ".join([*prefix, going.command]), going.why
    elif any(row.state == "running" for row in rows):
        then, why = None, "A stage is at work."
    else:
        then, why = " ".join([*prefix, "archive"]), "All stages are done; pack the project."
    return {
        "root": str(project.root.resolve()),
        "stages": [row.as_dict() for row in rows],
        "next": then,
        "why": " ".join(filter(None, [why, facts.missed()])),
    }


def checked_name(project: Project) -> str:
    """The character's name, after character.yaml was validated. Raises InputError."""
    return _known(project)["name"]


def _known(project: Project) -> dict[str, str]:
    """Name and source of the character, after character.yaml was validated.

    Validation costs 0.15 s of imports, so its outcome is kept by the file's hash: a file that was
    found right stays right until it changes. Raises InputError.
    """
    from limner import __version__
    from limner.errors import WorkFailedError
    from limner.project import files
    from limner.project.folder import CHARACTER_FILE

    digest = files.sha256_file(project.root / CHARACTER_FILE)
    note = project.root / ".limner" / "checked.json"
    try:
        known = json.loads(note.read_text(encoding="utf-8"))
        if known["sha256"] == digest and known["limner"] == __version__:
            return {key: str(known[key]) for key in ("name", "source")}
    except (OSError, ValueError, KeyError, TypeError):
        pass
    character = project.character
    found = {"name": character.name, "source": character.source.name}
    with suppress(WorkFailedError):  # a read-only folder can still be looked at
        files.write_json(note, {"sha256": digest, "limner": __version__, **found})
    return found
