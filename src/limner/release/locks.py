"""The dataset's lock, read again from the files themselves.

In: a dataset record and its folder with limner.lock.json ({files: [{path, sha256}]}, paths
relative to the lock's folder, as limner.dataset writes it). Out: what no longer holds, one
sentence each.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limner.project import Project, files
from limner.project.records import Dataset

LOCK_FILE = "limner.lock.json"


FACTS = ("trigger", "class_word", "likeness")
"""Of the character: with another one the LoRA would be called or meant otherwise."""


def lock_path(project: Project, dataset: Dataset) -> Path:
    """Where the lock of a dataset lies."""
    root = dataset.lock.get("root")
    folder = project.path(str(root)) if root else project.path(dataset.path).parent
    return folder / LOCK_FILE


def changed(project: Project, dataset: Dataset) -> list[str]:
    """What differs from the lock that was recorded; empty when everything holds."""
    path = lock_path(project, dataset)
    if not path.is_file():
        return [f"{project.relative(path)} is missing"]
    found = []
    if files.sha256_file(path) != dataset.lock_sha256:
        found.append(f"{project.relative(path)} is not the lock that was recorded")
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return [*found, f"{project.relative(path)} cannot be read"]
    return found + broken_entries(path.parent, lock) + _facts(project, lock)


def _facts(project: Project, lock: Any) -> list[str]:
    told = lock.get("character") if isinstance(lock, dict) else None
    if not isinstance(told, dict):
        return []
    now = project.character.model_dump(mode="json", include=set(FACTS))
    return [f"character.yaml: {key} has changed" for key in FACTS if now[key] != told.get(key)]


def broken_entries(folder: Path, lock: Any) -> list[str]:
    """Files of a lock that are missing or have other bytes."""
    entries = lock.get("files") if isinstance(lock, dict) else None
    if not isinstance(entries, list) or not entries:
        return ["the lock lists no files"]
    found = []
    for entry in entries:
        try:
            name, expected = str(entry["path"]), str(entry["sha256"])
        except (TypeError, KeyError):
            found.append("the lock has an entry without path and sha256")
            continue
        file = folder / name
        if not file.resolve().is_relative_to(folder.resolve()):
            found.append(f"{name} leaves the dataset folder")
        elif not file.is_file():
            found.append(f"{name} is missing")
        elif files.sha256_file(file) != expected:
            found.append(f"{name} has changed")
    listed = {str(e.get("path")) for e in entries if isinstance(e, dict)}
    for name in {name.rpartition("/")[0] for name in listed}:
        for file in sorted((folder / name).glob("[!.]*")):
            relative = file.relative_to(folder).as_posix()
            if name and file.is_file() and relative not in listed:
                found.append(f"{relative} is new")
    return found
