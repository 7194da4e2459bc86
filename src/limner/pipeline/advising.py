"""Advice with what other stages found: captions checked, versions compared on the same pictures.

In: a `Project`. Out: the data of `limner.advice.advise`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from limner.errors import LimnerError, NotReadyError
from limner.events import Events, Result
from limner.project import Project
from limner.project.records import VerdictRecord

SETTINGS = ("learning_rate", "steps", "rank", "batch", "resolution", "caption_dropout", "template")
"""Settings of a run that are told when two versions are compared."""


def advise(project: Project) -> dict[str, Any]:
    """Diagnose the project. Raises NotReadyError while there is nothing to look at."""
    from limner import advice

    return advice.advise(
        project, captions=caption_findings(project), comparisons=comparisons(project)
    )


def caption_findings(project: Project) -> list[dict[str, Any]] | None:
    """Findings on the captions; None while there are none to check."""
    from limner import captions

    try:
        return captions.check(project)
    except NotReadyError:
        return None


def comparisons(project: Project) -> list[dict[str, Any]]:
    """Each verdict on a new run beside the one before, on prompts and seeds that both drew.

    Each: {first, second, shared_pictures, only_first, only_second, p, changed, words}; a pair that
    cannot be compared has `why` in place of numbers.
    """
    runs: dict[int, VerdictRecord] = {}
    newest = project.store.verdict()
    for version in range(1, (newest.version if newest else 0) + 1):
        record = project.store.verdict(version)
        grid = project.store.grid(record.grid_version) if record else None
        if record and grid:
            runs[grid.run_version] = record  # the newest verdict on each run
    ordered = sorted(runs.items())
    return [_compared(project, one, two) for one, two in pairwise(ordered)]


def _compared(
    project: Project, one: tuple[int, VerdictRecord], two: tuple[int, VerdictRecord]
) -> dict[str, Any]:
    from limner import evaluation

    changed = _changed((project, one[0]), (project, two[0]))
    try:
        found = evaluation.compare(project, one[1].version, two[1].version)
    except LimnerError as error:
        sides = {"first": {"verdict": one[1].version}, "second": {"verdict": two[1].version}}
        words = f"Runs {one[0]} and {two[0]} cannot be compared: {error.what}."
        return {**sides, "changed": changed, "why": error.what, "words": words}
    names = Names(f"Runs {one[0]} and {two[0]}", f"run {one[0]}", f"run {two[0]}", f"Run {two[0]}")
    return {**found, "changed": changed, "words": _words(names, [found], changed)}


def against(project: Project, other: Project) -> Events:
    """The newest verdicts of two projects on the prompts and seeds both drew; Result: that of
    `limner.evaluation.against`, with `changed` and `words`."""
    from limner import evaluation

    for event in evaluation.against(project, other):
        if not isinstance(event, Result):
            yield event
            continue
        found = event.value
        one, two = found["first"], found["second"]
        changed = _changed((other, one["run"]), (project, two["run"]))
        both = f"{one['project']} and {two['project']}"
        names = Names(both, one["project"], two["project"], two["project"])
        words = _words(names, found["judged"], changed)
        words += "".join(
            f" The references of {name} do not judge: the other was trained on some of them."
            for name in found["not_judged_by"]
        )
        yield Result({**found, "changed": changed, "words": words})


def _changed(first: tuple[Project, int], second: tuple[Project, int]) -> list[str]:
    """What was trained differently in two runs, `rank 16 -> 12`."""
    sides = []
    for project, version in (first, second):
        run = project.store.run(version)
        config = run.config.get("run", run.config) if run else {}
        dataset = project.store.dataset(run.dataset_version) if run else None
        pictures = len(dataset.train) if dataset else None
        said = {k: "not known" if config.get(k) is None else config[k] for k in SETTINGS}
        sides.append({**said, "training pictures": pictures})
    return [
        f"{key.replace('_', ' ')} {sides[0][key]} -> {sides[1][key]}"
        for key in sides[0]
        if sides[0][key] != sides[1][key]
    ]


@dataclass(frozen=True)
class Names:
    """How a sentence calls two rounds: `Runs 1 and 2`, `run 1`, `run 2`, `Run 2` where it opens."""

    both: str
    one: str
    two: str
    opening: str


def _words(names: Names, judged: Sequence[Mapping[str, Any]], changed: Sequence[str]) -> str:
    """Better, worse or too close to call: McNemar on the pictures both drew, and where two judges
    looked only what both of them say."""
    what = f" ({', '.join(changed)})" if changed else ""
    if not all(row["shared_pictures"] for row in judged):
        return f"{names.both}{what} share no prompts and seeds: not compared."
    counts = "; ".join(_counts(names, row) for row in judged)
    sides = {_ahead(row) for row in judged}
    if len(sides) > 1 or 0 in sides:
        return f"{names.both}{what} are too close to call: {counts}."
    word = "better" if sides == {1} else "worse"
    return f"{names.opening}{what} is {word} than {names.one}: {counts}."


def _ahead(row: Mapping[str, Any]) -> int:
    """1: the second is ahead, -1: the first, 0: nothing parts them."""
    gap = row["only_second"] - row["only_first"]
    return 0 if row["p"] >= 0.05 or not gap else 1 if gap > 0 else -1


def _counts(names: Names, row: Mapping[str, Any]) -> str:
    by = f"by the references of {row['by']}, " if row.get("by") else ""
    return (
        f"{by}on {row['shared_pictures']} shared pictures {row['only_second']} show the person "
        f"only with {names.two}, {row['only_first']} only with {names.one} (p {row['p']:.3f})"
    )
