"""Advice for a project: every symptom with its state, and what changed between versions.

In: a project and what other stages found. Out: plain data, also kept as logs/advice.json so that
a report can show it.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from limner.advice.records import Records
from limner.advice.rules import rules
from limner.advice.symptoms import SYMPTOMS, diagnose
from limner.errors import NotReadyError, UsageError
from limner.project import Project, files

ADVICE_FILE = "logs/advice.json"
FORMAT = "limner advice 1"

LONGEST_NAME = 200
"""Characters; longer texts of character.yaml are descriptions, no names of files (ours)."""


def advise(
    project: Project,
    *,
    captions: Sequence[Mapping[str, Any]] | None = None,
    comparisons: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Diagnose the newest verdict and run of a project and keep the result.

    captions: findings of the captions check. comparisons: two versions each, as `pipeline` makes
    them. Returns {run, verdict, symptoms: [...], found, insufficient, versions, next}. Raises
    NotReadyError while nothing is planned or made.
    """
    if not project.store.takes() and project.store.run() is None:
        raise NotReadyError(
            "There is nothing to give advice on yet",
            where=str(project.root),
            fix="Make pictures first: `limner status` names the next step.",
        )
    found = Records(project, captions)
    value = rules(project.character.advice.thresholds)
    diagnoses = diagnose(found, value)
    ill = [d for d in diagnoses if d.state == "found"]
    data = {
        "format": FORMAT,
        "run": found.run.version if found.run else None,
        "verdict": found.verdict.version if found.verdict else None,
        "statement": found.verdict.data.get("statement") if found.verdict else None,
        "symptoms": [d.as_json() for d in diagnoses],
        "found": [d.id for d in ill],
        "insufficient": [d.id for d in diagnoses if d.state == "insufficient evidence"],
        "versions": [dict(c) for c in comparisons],
        "next": _next([d.as_json() for d in ill]),
    }
    files.write_json(project.root / ADVICE_FILE, data)
    return data


def _next(ill: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The first remedy of the first symptom; the dataset comes before what is made of it."""
    order = ["crashes", "not_saving", "inconsistent_dataset", *(s.id for s in SYMPTOMS)]
    for one in sorted(ill, key=lambda d: order.index(d["id"])):
        if one["remedies"]:
            return dict(one["remedies"][0])
    return None


def apply(project: Project, name: str) -> dict[str, Any]:
    """Write a remedy's settings to character.yaml, comments kept; returns {id, size, changes,
    project, symptom}: where they were written, and what the newest advice said of the symptom
    (found, not found, insufficient evidence; None without one).

    A change of the shots begins another project beside this one, for shots that have pictures are
    never planned over. `name`: id of a remedy of the newest advice. Raises UsageError for one that
    is not there or changes no setting, InputError when character.yaml refuses it.
    """
    found = Records(project)
    from limner.advice import remedies

    symptom = name.partition(".")[0]
    known = remedies.steps(symptom, found) if symptom in remedies.REMEDIES else ()
    step = next((s for s in known if s.id == name), None)
    if step is None or not step.changes:
        able = [s.id for key in remedies.REMEDIES for s in remedies.steps(key, found) if s.changes]
        raise UsageError(
            f"There is no change of settings called {name!r}"
            if step is None
            else f"{name} changes no setting: {step.says}",
            where="limner advise --apply",
            fix=f"Use one of: {', '.join(able)}." if able else "See `limner advise`.",
        )
    target = _beside(project) if remedies.another_plan(step.changes) else project
    target.change_character(**{k.replace(".", "__"): v for k, v in step.changes.items()})
    project.store.log("advice", "applied", remedy=name, changes=step.changes)
    return {
        "id": step.id,
        "size": step.size,
        "changes": step.changes,
        "project": str(target.root.resolve()),
        "symptom": _said(project, symptom),
    }


def _said(project: Project, symptom: str) -> str | None:
    """The state of a symptom in the newest advice; None where there is none to be read."""
    try:
        rows = json.loads((project.root / ADVICE_FILE).read_text(encoding="utf-8"))["symptoms"]
        return next((str(row["state"]) for row in rows if row["id"] == symptom), None)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _beside(project: Project) -> Project:
    """A new project with this one's character.yaml, own words, and the files of its folder that
    character.yaml names: the consent, reference pictures, a workflow, a control LoRA."""
    from limner.advice import remedies

    character = project.character
    whole = remedies.next_project(project.root)
    root = whole.with_name(f".{whole.name}.part")  # it has its name when it is whole
    shutil.rmtree(root, ignore_errors=True)
    made = Project.create(
        root,
        name=character.name,
        trigger=character.trigger,
        class_word=character.class_word,
        likeness="synthetic",
    )
    if (project.root / "vocabulary").is_dir():
        shutil.copytree(project.root / "vocabulary", root / "vocabulary", dirs_exist_ok=True)
    for name in _own_files(project.root.resolve(), character.model_dump()):
        files.write_bytes(root / name, (project.root / name).read_bytes())
    text = (project.root / "character.yaml").read_text(encoding="utf-8")
    files.write_text(root / "character.yaml", text)
    made.store.close()
    root.rename(whole)
    return Project.open(whole)


def _own_files(root: Path, values: Any) -> Iterator[str]:
    """Relative paths of files inside `root` among the texts of nested settings."""
    if isinstance(values, Mapping):
        values = list(values.values())
    if isinstance(values, list | tuple):
        for value in values:
            yield from _own_files(root, value)
    elif isinstance(values, str) and 0 < len(values) <= LONGEST_NAME and "\0" not in values:
        path = (root / values).resolve()
        if path.is_relative_to(root) and path.is_file():
            yield path.relative_to(root).as_posix()
