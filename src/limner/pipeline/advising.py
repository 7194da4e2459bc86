"""Advice with what other stages found: captions checked, versions compared on the same pictures.

In: a `Project`. Out: the data of `limner.advice.advise`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from limner.errors import LimnerError, NotReadyError
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

    changed = _changed(project, one[0], two[0])
    try:
        found = evaluation.compare(project, one[1].version, two[1].version)
    except LimnerError as error:
        sides = {"first": {"verdict": one[1].version}, "second": {"verdict": two[1].version}}
        words = f"Runs {one[0]} and {two[0]} cannot be compared: {error.what}."
        return {**sides, "changed": changed, "why": error.what, "words": words}
    return {**found, "changed": changed, "words": _words(one[0], two[0], found, changed)}


def _changed(project: Project, first: int, second: int) -> list[str]:
    """What was trained differently, `rank 16 -> 12`."""
    sides = []
    for version in (first, second):
        run = project.store.run(version)
        config = run.config.get("run", run.config) if run else {}
        dataset = project.store.dataset(run.dataset_version) if run else None
        pictures = len(dataset.train) if dataset else None
        sides.append({**{k: config.get(k) for k in SETTINGS}, "training pictures": pictures})
    return [
        f"{key.replace('_', ' ')} {sides[0][key]} -> {sides[1][key]}"
        for key in sides[0]
        if sides[0][key] != sides[1][key]
    ]


def _words(first: int, second: int, found: dict[str, Any], changed: list[str]) -> str:
    """Better, the same or too close to call: McNemar on the pictures both drew."""
    shared, p = found["shared_pictures"], found["p"]
    what = f" ({', '.join(changed)})" if changed else ""
    if not shared or p is None:
        return f"Runs {first} and {second}{what} share no prompts and seeds: not compared."
    ahead = found["only_second"] - found["only_first"]
    counts = (
        f"on {shared} shared pictures {found['only_second']} show the person only with run "
        f"{second}, {found['only_first']} only with run {first} (p {p:.3f})"
    )
    if p >= 0.05 or ahead == 0:
        return f"Runs {first} and {second}{what} are too close to call: {counts}."
    return f"Run {second}{what} is {'better' if ahead > 0 else 'worse'} than run {first}: {counts}."
