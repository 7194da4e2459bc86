"""The demo: one character from a description to a report, with the same calls as the commands.

In: a folder (or none). Out: events, last a Result with report, verdict and seconds a stage.
A killed demo goes on where it was: every step asks the project what is still to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from limner.errors import UsageError, WorkFailedError
from limner.events import Events, Notice, Result
from limner.pipeline import wiring
from limner.pipeline.stages import Facts
from limner.project import Project, files

DESCRIPTION = "A woman of 59 with fair skin, curly auburn hair, green eyes and freckles."
"""The demo's character; every word of it is one that the lexicon's traits know."""

SIZE = 256
"""Side of a demo drawing, px: twice the miniature's picture, drawn in a quarter of the time."""

SETTINGS: dict[str, object] = {
    "source__size": SIZE,
    "shots__preset": "portrait",
    "dataset__held_out": 8,
    "evaluation__strengths": [1.0],
    "evaluation__prompts": 36,
    "evaluation__seeds": 2,
    "evaluation__thresholds": {"first_look": 8},
    "evaluation__claim_seeds": 3,
}
"""What the demo sets in character.yaml to end in six minutes: near faces, about 400 renders. Many
prompts of few seeds: pictures of one prompt resemble each other and together say less. The first
look takes eight pictures: by four, one of ten checkpoints of like quality is chosen by luck."""

ROUNDS = 2
"""How often rejected shots are made anew before the demo goes on without them."""

MARK = Path(".limner") / "demo.json"
"""Says that a folder is a demo's, and keeps the seconds of the stages done so far."""


class DemoFailedError(WorkFailedError):
    """The demo ran, but its LoRA is not measurably the character; `found` is its result."""

    def __init__(self, found: dict[str, Any]) -> None:
        super().__init__(
            f"The demo's verdict is not established: {found['verdict'].get('statement', '')}",
            where=str(found["report"]),
            fix="Open the report; its evaluation section shows the intervals that overlap.",
        )
        self.found = found


def open_folder(keep: Path | None) -> tuple[Project, bool]:
    """The demo's project and whether it goes on with an old one. Raises UsageError."""
    if keep is not None:
        return _open(keep)
    for number in range(1, 1000):
        folder = Path("demo" if number == 1 else f"demo-{number}")
        if not folder.exists() or ((folder / MARK).exists() and not _finished(folder)):
            return _open(folder)
    raise UsageError("There are 999 demos here", where=str(Path.cwd()), fix="Delete some.")


def _finished(folder: Path) -> bool:
    return bool(_read_mark(folder).get("finished"))


def _read_mark(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / MARK).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _open(folder: Path) -> tuple[Project, bool]:
    if (folder / MARK).exists() and (folder / "character.yaml").exists():
        return Project.open(folder), True
    if folder.exists() and not (folder / MARK).exists() and any(folder.iterdir()):
        raise UsageError(
            "That folder is not empty, and no demo's",
            where=str(folder),
            fix="Give a new folder: limner demo --keep NEW.",
        )
    files.write_json(folder / MARK, {"seconds": {}})
    project = Project.create(
        folder,
        name="grace",
        trigger="grace_char",
        class_word="woman",
        likeness="synthetic",
        description=DESCRIPTION,
    )
    project.change_character(**SETTINGS)
    return project, False


class _Clock:
    """Seconds a stage, kept in the mark so that a demo that went on says all of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mark = _read_mark(root)
        self.seconds: dict[str, float] = dict(self.mark.get("seconds", {}))

    def add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + seconds, 2)
        self.save()

    def save(self, **more: Any) -> None:
        self.mark = {**self.mark, **more, "seconds": self.seconds}
        files.write_json(self.root / MARK, self.mark)


def demo(keep: Path | None = None) -> Events:
    """Walk a whole project. `keep`: its folder; None: ./demo (or demo-2, ... when that is done).

    Result: {report, project, established, verdict, seconds {stage: s}}. Raises DemoFailedError
    (exit 3) when the interval of the match rate is not clear of base and control.
    """
    project, went_on = open_folder(keep)
    said = "going on with" if went_on else "making"
    yield Notice(f"{said} the demo's project in {project.root}")
    clock = _Clock(project.root)
    for stage, todo, work in _steps(project):
        if not todo():
            continue
        start = time.monotonic()
        yield from _without_result(work())
        clock.add(stage, time.monotonic() - start)
    verdict = _verdict(project)
    start = time.monotonic()
    report = _report(project)
    clock.add("report", time.monotonic() - start)
    clock.save(finished=True)
    found = {
        "report": str(report.resolve()),
        "project": str(project.root.resolve()),
        "established": established(verdict),
        "verdict": verdict,
        "seconds": {**clock.seconds, "total": round(sum(clock.seconds.values()), 2)},
    }
    if not found["established"]:
        raise DemoFailedError(found)
    yield Result(found)


def _without_result(events: Events) -> Events:
    for event in events:
        if not isinstance(event, Result):
            yield event


Step = tuple[str, Callable[[], bool], Callable[[], Events]]


def _steps(project: Project) -> list[Step]:
    from limner import captions, dataset, evaluation, release, training

    def facts() -> Facts:
        return Facts(project)

    def plan_training() -> Events:
        yield Notice("measuring the pace of a training step")
        yield Result(training.plan(project))

    def unplanned() -> bool:
        plan, built = project.store.plan(), project.store.dataset()
        return plan is None or built is None or plan.dataset_version != built.version

    def untrained() -> bool:
        run, plan = project.store.run(), project.store.plan()
        return run is None or run.state != "done" or plan is None or run.plan_version < plan.version

    def unreleased() -> bool:  # a release wants more than the demo does: the same person
        verdict = project.store.verdict()
        said = verdict.data.get("outcome") if verdict else None
        return project.store.release() is None and said == "same_person"

    return [
        ("shots", lambda: not project.store.shots(), lambda: wiring.plan_shots(project)),
        ("generate", lambda: _wants_pictures(project), lambda: wiring.generate(project)),
        ("review", lambda: bool(facts().unjudged), lambda: wiring.review(project)),
        ("retakes", lambda: bool(facts().wanting), lambda: _rounds(project)),
        ("captions", lambda: True, lambda: captions.compile(project)),
        ("dataset", lambda: project.store.dataset() is None, lambda: dataset.build(project)),
        ("plan", unplanned, plan_training),
        ("train", untrained, lambda: training.train(project)),
        ("evaluate", lambda: project.store.verdict() is None, lambda: wiring.evaluate(project)),
        ("verdict", lambda: project.store.verdict() is None, lambda: evaluation.verdict(project)),
        ("release", unreleased, lambda: release.release(project)),
    ]


def _wants_pictures(project: Project) -> bool:
    facts = Facts(project)
    return bool(facts.worth_trying) or any(t.state == "pending" for t in facts.takes)


def _rounds(project: Project) -> Events:
    """Make rejected shots anew and judge them, at most `ROUNDS` times."""
    for number in range(1, ROUNDS + 1):
        facts = Facts(project)
        if not facts.worth_trying:
            return
        yield Notice(f"{len(facts.worth_trying)} shots are made anew (round {number})")
        yield from _without_result(wiring.generate(project))
        yield from _without_result(wiring.review(project))


def _verdict(project: Project) -> dict[str, Any]:
    record = project.store.verdict()
    if record is None:
        raise WorkFailedError(
            "The evaluation gave no verdict",
            where=str(project.root),
            fix="Run `limner evaluate` and `limner verdict` in that folder.",
        )
    return record.data


def _report(project: Project) -> Path:
    from limner import release

    return release.report(project)


def established(verdict: dict[str, Any]) -> bool:
    """Whether the match rate's interval is clear of the base's and of the control's."""
    try:
        low = verdict["interval"][0]
        high = max(verdict["base_interval"][1], verdict["control_interval"][1])
    except (KeyError, TypeError, IndexError):
        return False
    return low is not None and high is not None and low > high
