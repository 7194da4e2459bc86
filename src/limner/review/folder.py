"""Any folder of pictures, without a project: measured, compared with itself, decided by rule.

In: a folder, perhaps a folder of reference pictures of the person. Out: one JSON-able answer, and a
page and a sheet to look at. Nothing is written into the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import UsageError
from limner.events import Event, Events, Notice, Result, Ticker
from limner.llm import Client, find_endpoint
from limner.project.records import Shot, Take
from limner.review import questions
from limner.review.case import Case, Judgement
from limner.review.judge import References, judge
from limner.review.measuring import Answer, Job, Seen, read_files
from limner.review.rules import Rule, rules
from limner.vision.brought import open_brought
from limner.vision.embedders import NAMES
from limner.vision.faces import Kind
from limner.vision.questions import Question
from limner.vision.questions import ask as ask_endpoint

SUFFIXES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"))
MANY = 1000
"""Above so many pictures comparing them takes over some seconds (10,000: two minutes)."""
DRAWN_BY = "Limner atelier"
"""What the atelier writes into its PNGs; such pictures are drawings, all others photographs."""


@dataclass(frozen=True)
class FolderReview:
    """What was found. judged: in the order of the files. answer: what `--json` prints."""

    files: list[Path]
    judged: list[Judgement]
    answer: dict[str, Any]


def review_folder(
    folder: Path,
    *,
    reference: Path | None = None,
    kind: Kind | None = None,
    thresholds: Mapping[str, float] | None = None,
    embedders: tuple[Path, ...] = (),
    text: bool = False,
    ask: bool = False,
    again: bool = False,
    workers: int = 2,
    cache: Path | None = None,
) -> Events:
    """Review every picture under `folder`.

    kind: None reads it from the files (atelier drawings say so). embedders: cards of the user's
    own. ask: ask the vision endpoint about artefacts. Result: a `FolderReview`. Raises UsageError
    for a missing or empty folder, InputError for an unknown rule or a wrong embedder.
    """
    table = rules(thresholds or {})
    files = pictures_of(folder)
    others = pictures_of(reference) if reference is not None else []
    kinds = [kind or kind_of_file(path) for path in (*files, *others)]
    brought = {own.name: own for own in map(open_brought, embedders)}
    jobs = [
        Job(path, k, table["smallest_face"].at(k), again, embedders, text)
        for path, k in zip((*files, *others), kinds, strict=True)
    ]
    where = cache or cache_folder()
    ticker = Ticker("review", len(jobs))
    answers: list[Answer] = []
    for answer, job in zip(read_files(jobs, where, workers), jobs, strict=True):
        assert answer is not None
        answers.append(answer)
        yield ticker.tick(note=job.path.name)
    yield from _wanting(answers)
    cases = [
        _case(i, folder, path, answers[i], kinds[i]) for i, path in enumerate(files)
    ]  # fmt: skip
    own = answers[len(files) :]
    references = _references(own, (*NAMES, *brought)) if others else None
    if len(cases) > MANY:
        yield Notice(f"{len(cases):,} pictures are compared with one another: this takes a while")
    found = judge(
        cases,
        table,
        references=references,
        brought={name: one.card.threshold for name, one in brought.items()},
    )
    for one in brought.values():
        same, other = one.test
        found.calibration.setdefault(one.name, {})["self_test"] = {"same": same, "other": other}
        found.calibration[one.name]["tool"] = one.tool
    yield from _artefacts(found.all, files, answers, table, where.parent, ask=ask)
    told = _answer(folder, reference, found.all, found.calibration)
    yield Result(FolderReview(files, found.all, told))


def _artefacts(
    judged: list[Judgement],
    files: list[Path],
    answers: list[Answer],
    table: Mapping[str, Rule],
    cache: Path,
    *,
    ask: bool,
) -> Events:
    """Hands and faces by the endpoint. Without prompts the control is a question on nothing."""
    if not ask:
        for one in judged:
            questions.judge(one, None, table)
        return
    asked = [Question("artefact", about, text) for about, text in questions.ARTEFACTS]
    asked.append(questions.NUDITY)
    asked.append(Question("control", "nonsense", questions.NONSENSE))
    ticker = Ticker("ask", len(judged))
    with Client(find_endpoint()) as client:
        for one, path, answer in zip(judged, files, answers, strict=False):
            if one.verdict != "reject" and answer.digest:
                said = ask_endpoint(client, path, answer.digest, asked, cache)
                questions.judge(one, said, table)
            yield ticker.tick(note=path.name)


def pictures_of(folder: Path) -> list[Path]:
    """The pictures under a folder, by path; hidden ones are left out. Raises UsageError."""
    if not folder.is_dir():
        what = "This is a file, not a folder" if folder.exists() else "There is no such folder"
        raise UsageError(what, where=str(folder), fix="Give a folder of pictures.")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        raise UsageError(
            "There are no pictures in this folder",
            where=str(folder),
            fix=f"Pictures end in one of {', '.join(sorted(SUFFIXES))}.",
        )
    return found


def kind_of_file(path: Path) -> Kind:
    """drawing where the file says that the atelier drew it, else photo; read from the header."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            return "drawing" if DRAWN_BY in str(picture.info.get("Software", "")) else "photo"
    except Exception:  # damaged files are reported when they are read
        return "photo"


def cache_folder() -> Path:
    """Where readings of pictures outside projects are kept (XDG_CACHE_HOME)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "limner" / "readings"


def _case(i: int, folder: Path, path: Path, answer: Answer, kind: Kind) -> Case:
    name = str(path.relative_to(folder))
    take = Take(i + 1, name, "folder", 1, 0, "done", path=str(path))
    shot = Shot(name, i, {}, "", 0)
    return Case(
        take, shot, Seen(take, answer.reading, answer.fault, False, answer.cached), kind, name=name
    )


def _references(answers: list[Answer], names: tuple[str, ...]) -> References:
    """Vectors of the reference pictures. Raises UsageError when no face is found in any."""
    found = References({name: [] for name in names}, {name: [] for name in names})
    for answer in answers:
        reading = answer.reading
        for name in names:
            vector = reading.vector(name) if reading else None
            if vector is not None and reading is not None:
                found.vectors[name].append(vector)
                found.yaws[name].append(reading.face.yaw if reading.face else None)
    if not any(found.vectors.values()):
        raise UsageError(
            "No face could be read in the reference folder",
            fix="Give pictures in which the person's face is seen from the front.",
        )
    return found


def _wanting(answers: list[Answer]) -> Iterator[Event]:
    reasons = {
        f"{name} was not measured: {reason}"
        for answer in answers
        for name, reason in (answer.reading.missing if answer.reading else {}).items()
        if reason.startswith("install ")
    }
    for reason in sorted(reasons):
        yield Notice(reason, "warning")


def _answer(
    folder: Path, reference: Path | None, judged: list[Judgement], calibration: dict[str, Any]
) -> dict[str, Any]:
    counts = dict.fromkeys(("keep", "undecided", "reject"), 0)
    for one in judged:
        counts[one.verdict] += 1
    return {
        "folder": str(folder),
        "reference": None if reference is None else str(reference),
        **counts,
        "pictures": [picture(one) for one in judged],
        "calibration": calibration,
    }


def picture(one: Judgement) -> dict[str, Any]:
    """One picture as `--json` prints it: every measure with its unit, or why it has no value."""
    measures = {
        name: {"value": m.value, "unit": m.unit}
        if m.value is not None
        else {"value": None, "unit": m.unit, "reason": m.reason}
        for name, m in one.measures.items()
    }
    return {
        "file": one.case.called,
        "kind": one.case.kind,
        "measures": measures,
        "decision": one.verdict,
        "reasons": one.reasons,
        "rules": [{"rule": f.rule, "severity": f.severity} for f in one.findings],
    }
