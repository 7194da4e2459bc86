"""Two verdicts on the same prompts and seeds: which round shows the person more often?

In: verdicts of one project, or of two. Out: McNemar on the pictures both drew, one judge and one
line for both. Only pictures that another project judged by other references are looked at again.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from limner import vision
from limner.errors import InputError, LimnerError, NotReadyError, UsageError
from limner.evaluation import ground, identity, judging
from limner.evaluation import statistics as stats
from limner.evaluation.identity import Judge
from limner.events import Event, Events, Notice, Result, Ticker
from limner.project import Project
from limner.project.records import Grid, Measure
from limner.render import ensure_comparable

Matches = dict[tuple[str, int], bool]
"""(prompt text, seed) -> is it the person?"""


def compare(project: Project, first: int, second: int) -> dict[str, Any]:
    """Two verdicts side by side: match rates, McNemar on pictures with the same prompt and seed.

    What was trained on may differ; what decides a match must not: reference pictures, embedder and
    its tools. Where the two thresholds differ (other strangers drawn, another target), the pictures
    of both are judged by the stricter: `threshold`. Raises UsageError when their pictures were made
    or are judged under different settings, NotReadyError when one does not exist.
    """
    sides, grids = [], []
    for version in (first, second):
        record = project.store.verdict(version)
        grid = project.store.grid(record.grid_version) if record else None
        if record is None or grid is None:
            raise NotReadyError(f"There is no verdict {version}", fix="See `limner status`.")
        sides.append(record.data)
        grids.append(grid)
    settings = [{**side["settings"], **_deciding(side)} for side in sides]
    ensure_comparable(settings[0], settings[1])
    line = _common_line([side.get("threshold") for side in sides])
    both = zip(grids, sides, strict=True)
    pictures = [_claimed_matches(project, grid, side, line) for grid, side in both]
    return {
        "first": {"verdict": first, **{key: sides[0][key] for key in TOLD}},
        "second": {"verdict": second, **{key: sides[1][key] for key in TOLD}},
        **_paired(*pictures),
        "threshold": sides[0].get("threshold") if line is None else line,
    }


TOLD = ("checkpoint", "strength", "match_rate", "interval", "hits", "n", "word")
"""Of a verdict, beside another."""


def _paired(first: Matches, second: Matches) -> dict[str, Any]:
    """McNemar on the pictures that both drew."""
    shared = first.keys() & second.keys()
    only_first = sum(first[cell] and not second[cell] for cell in shared)
    only_second = sum(second[cell] and not first[cell] for cell in shared)
    return {
        "shared_pictures": len(shared),
        "only_first": only_first,
        "only_second": only_second,
        "p": stats.mcnemar_exact(only_first, only_second) if shared else None,
    }


def _deciding(data: dict[str, Any]) -> dict[str, Any]:
    """What makes a face a match, under the names that an error says: not the training pictures,
    which only measure the ceiling, and not the strangers, which only set the threshold."""
    names = {
        "references": "reference pictures",
        "tools": "face embedders",
        "kind": "kind of pictures",
        "smallest_face": "smallest face",
    }
    found = {words: data["judge"].get(key) for key, words in names.items()}
    return {**found, "embedder": data.get("embedder")}


def _common_line(thresholds: Sequence[float | None]) -> float | None:
    """The stricter of two different thresholds; None where the recorded matches can stand."""
    known = {t for t in thresholds if t is not None}
    return max(known) if len(known) > 1 else None


def _claimed_matches(
    project: Project, grid: Grid, data: dict[str, Any], line: float | None
) -> Matches:
    """(prompt text, seed) -> matched, for the claiming pictures of the chosen arm; as recorded, or
    by `line` on the recorded likeness."""

    def matched(scores: dict[str, Measure]) -> bool:
        if line is None:
            return scores["match"].value == 1.0
        likeness = scores[f"identity_{data['embedder']}"].value
        return likeness is not None and likeness >= line

    return {
        (render.prompt, render.seed): matched(scores)
        for render, scores in _claimed(project, grid, data)
    }


def _claimed(project: Project, grid: Grid, data: dict[str, Any]) -> judging.Scored:
    """The claiming pictures of the chosen arm."""
    return [
        (render, scores)
        for render, scores in judging.read_scores(project, grid.version, "claim")
        if (render.arm, render.strength) == (data["checkpoint"], data["strength"])
        and "match" in scores
    ]


# ---- another project


@dataclass(frozen=True)
class _Side:
    """A project with its newest verdict."""

    project: Project
    name: str
    version: int
    data: dict[str, Any]
    grid: Grid

    @property
    def references(self) -> set[str]:
        """SHA-256 of the pictures that judge here."""
        return set(self.data["judge"]["references"])

    @property
    def matches(self) -> Matches:
        """As its own verdict has them."""
        return _claimed_matches(self.project, self.grid, self.data, None)


def against(project: Project, other: Project) -> Events:
    """The newest verdict of a project beside that of another of the same character: McNemar on the
    pictures with the same prompt and seed.

    Where the two were judged by other references, the pictures of each are looked at again by the
    other's judge: two rows, for each knows the pictures of its own project better. References that
    the other project trained on judge nothing. Result: {first, second, judged: [{by, threshold,
    shared_pictures, only_first, only_second, p}], not_judged_by}. first: the other project. Raises
    NotReadyError without verdicts, UsageError for one project twice or pictures of different
    settings, InputError when no references can judge.
    """
    first, second = _side(other), _side(project)
    if first.project.root.resolve() == second.project.root.resolve():
        raise UsageError(
            "That is this project itself",
            where="limner verdict --against",
            fix="Name another one; `limner advise` compares the runs of one project.",
        )
    if first.name == second.name:
        first, second = _fuller(first), _fuller(second)
    settings = [{**side.data["settings"], **_deciding(side.data)} for side in (first, second)]
    same = first.references == second.references
    if not same:
        settings = [{**found, "reference pictures": None} for found in settings]
    ensure_comparable(settings[0], settings[1])
    judged, unfair = [], []
    if same:
        line = _common_line([side.data.get("threshold") for side in (first, second)])
        pictures = [_claimed_matches(s.project, s.grid, s.data, line) for s in (first, second)]
        row = {"by": None, **_paired(*pictures)}
        judged.append({**row, "threshold": first.data["threshold"] if line is None else line})
    for host, guest in () if same else ((first, second), (second, first)):
        if host.references & set(guest.data["judge"]["gallery"]):
            unfair.append(host.name)
            continue
        seen = yield from _looked_at(host, guest)
        pictures = [host.matches, seen] if host is first else [seen, host.matches]
        row = {"by": host.name, **_paired(*pictures)}
        judged.append({**row, "threshold": host.data["threshold"]})
    if not judged:
        raise InputError(
            "Each project was trained on reference pictures of the other, so neither can judge",
            where=f"{first.name}, {second.name}",
            fix="Hold other pictures back (dataset.held_out), or compare by eye.",
        )
    yield Result(
        {
            "first": _told(first),
            "second": _told(second),
            "judged": judged,
            "not_judged_by": unfair,
        }
    )


def _side(project: Project) -> _Side:
    record = project.store.verdict()
    grid = project.store.grid(record.grid_version) if record else None
    if record is None or grid is None:
        raise NotReadyError(
            "There is no verdict to compare",
            where=str(project.root),
            fix="Run `limner evaluate` and `limner verdict` there.",
        )
    if record.data.get("threshold") is None:
        raise NotReadyError(
            "The newest verdict has no threshold, so nobody was recognised",
            where=str(project.root),
            fix="Mend what it says is missing, then evaluate again.",
        )
    name = project.root.resolve().name
    return _Side(project, name, record.version, record.data, grid)


def _fuller(side: _Side) -> _Side:
    root = side.project.root.resolve()
    return replace(side, name=f"{root.parent.name}/{root.name}")


def _told(side: _Side) -> dict[str, Any]:
    facts = {key: side.data[key] for key in TOLD}
    return {"project": side.name, "verdict": side.version, "run": side.grid.run_version, **facts}


def _looked_at(host: _Side, guest: _Side) -> Generator[Event, None, Matches]:
    """The guest's claiming pictures under the host's references and line."""
    judge, embedder = _judge(host), str(host.data["embedder"])
    claimed = _claimed(guest.project, guest.grid, guest.data)
    ticker = Ticker(f"{guest.name} by the references of {host.name}", len(claimed))
    found: Matches = {}
    for render, _ in claimed:
        try:
            picture = vision.open_picture(guest.project.path(render.path or ""))
        except LimnerError as error:
            yield Notice(f"Left out: {error.what} ({guest.name}/{render.path}).", "warning")
            continue
        likeness = judge.score(judge.look(picture), embedder)
        matched = likeness is not None and likeness >= host.data["threshold"]
        found[render.prompt, render.seed] = matched
        yield ticker.tick()
    return found


def _judge(side: _Side) -> Judge:
    """The judge of a verdict, made again from its reference pictures as they were."""
    told, settings = side.data["judge"], side.data["settings"]
    run = side.project.store.run(side.grid.run_version)
    dataset = side.project.store.dataset(run.dataset_version) if run else None
    takes = ground.find_takes(side.project, dataset)[0] if dataset else []
    if [take.sha256 for take in takes] != told["references"]:
        raise InputError(
            "The reference pictures of the verdict are not all there",
            where=str(side.project.root),
            fix="Bring them back to takes/, or evaluate again there.",
        )
    names, kind = tuple(told["tools"]), told["kind"]
    short = min(settings["width"], settings["height"])
    looks = [
        identity.look(ground.at_size(side.project, take, short), names, kind, told["smallest_face"])
        for take in takes
    ]
    judge = Judge(names, kind, told["smallest_face"], looks, ())
    if judge.tools != told["tools"]:
        raise InputError(
            "The face embedders are not those of the verdict",
            where=str(side.project.root),
            fix="Evaluate again there, with the embedders of today.",
        )
    return judge
