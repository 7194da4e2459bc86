"""Export: a dataset version, or anyone's folder, as the files of one trainer or service.

In: a project (or a path) and a target. Out: a folder with pictures, captions, controls, the
trainer's configs and `limner.export.json`, or one zip. Whole or absent; the originals stay as they
are, and what a hand changed in an earlier export is never written over.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner.dataset import controls as control_pictures
from limner.dataset.layouts import CONTROL, Contents, Group, Layout, Pair, layout_named
from limner.dataset.lock import find_dataset, verify_lock
from limner.dataset.reading import read
from limner.dataset.writing import files_of, readable, zipped
from limner.errors import InputError, UsageError
from limner.events import Events, Notice, Result, Ticker
from limner.project import Project
from limner.project.files import explain_os_error, sha256_bytes, sha256_file, write_bytes

MANIFEST = "limner.export.json"
SAMPLES = 3
"""Captions that a config may draw sample pictures of."""
Configs = Callable[[list[dict[str, Any]]], Mapping[str, str]]
"""From the groups as `export` describes them to the trainer's own files, by relative name."""


@dataclass(frozen=True)
class Source:
    """What is exported: groups, which faces show, and the facts for the manifest."""

    groups: tuple[Group, ...]
    trigger: str
    faces: frozenset[str]
    facts: dict[str, Any]
    passed_over: tuple[tuple[str, str], ...] = ()


def from_project(project: Project, version: int | None = None) -> Source:
    """The groups of a dataset version, exactly as its lock lists them; nothing held out.

    Raises NotReadyError without a dataset, InputError when files are no longer those of the lock.
    """
    dataset = find_dataset(project, version)
    if changed := [c for c in verify_lock(project, version) if not c.startswith("character.yaml")]:
        raise InputError(
            f"The dataset is not as it was built: {changed[0]}"
            + (f", and {len(changed) - 1} more" if len(changed) > 1 else ""),
            where=dataset.path,
            fix="Run `limner captions compile` and `limner dataset build` for a next version.",
        )
    lock = dataset.lock
    root = project.path(lock["root"])
    trigger = str(lock["character"]["trigger"])
    groups = [_locked(root, trigger, lock["pictures"], lock["settings"]["dataset"]["repeats"])]
    if real := lock.get("realism"):
        name = str(real["folder"]).partition("_")[2]
        groups.append(_locked(root, name, real["pictures"], real["repeats"]))
    shown = {Path(p["file"]).stem for p in lock["pictures"] if p.get("face_visible", True)}
    facts = {"dataset": dataset.version, "lock_sha256": dataset.lock_sha256}
    return Source(tuple(groups), trigger, frozenset(shown), facts)


def _locked(root: Path, name: str, rows: Sequence[dict[str, Any]], repeats: int) -> Group:
    pairs = []
    for row in rows:
        file = root / row["file"]
        caption = (root / row["caption_file"]).read_text("utf-8")
        pairs.append(Pair(file.stem, file.suffix, file.read_bytes(), caption))
    return Group(name, tuple(pairs), int(repeats))


def from_folder(path: Path, trigger: str | None = None) -> Source:
    """The groups of anyone's folder or zip. trigger None: the first word all captions share."""
    found: Contents = read(path)
    firsts = {p.caption.split(",")[0].strip() for g in found.groups for p in g.pairs}
    word = trigger or (firsts.pop() if len(firsts) == 1 else "")
    if not word:
        raise UsageError(
            "The captions do not begin with one word, so the trigger is not known",
            where=str(path),
            fix="Give it with --trigger.",
        )
    return Source(found.groups, word, frozenset(), {"from": path.name}, found.passed_over)


def export(
    source: Source,
    target: str,
    out: Path,
    *,
    control: str = "none",
    control_size: int = 1024,
    configs: Configs | None = None,
) -> Events:
    """Write `source` in a target's layout to `out`: a folder, or a zip for a service.

    control: none, blank or self (see `limner.dataset.controls`); real bodies get a blank one, they
    are not the character. configs: makes the trainer's own files. Result: {target, path, groups,
    files, sha256, notes}. Raises UsageError (unknown target, controls it cannot take, another's
    folder), InputError (two pictures of one name, a picture that cannot be read).
    """
    layout = layout_named(target)
    mode = control_pictures.checked_mode(control, control_size)
    groups, changed = readable(source.groups, layout)
    notes = [f"{name}: {why}, passed over" for name, why in source.passed_over]
    if changed:
        those = "1 picture was" if changed == 1 else f"{changed} pictures were"
        notes.append(f"{those} of a type that {layout.name} does not take, and made PNG.")
    ticker = Ticker("exporting", sum(len(g.pairs) for g in groups))
    made = []
    for group in groups:
        here: control_pictures.Mode = "blank" if mode == "self" and group.is_bodies else mode
        if mode != "none":
            pairs = control_pictures.with_controls(
                group.pairs, here, control_size, faces=source.faces
            )
            group = replace(group, pairs=pairs)
        made.append(group)
        yield ticker.tick(len(group.pairs), note=group.name)
    files = files_of(made, layout, source.trigger)
    told = [describe(group, layout) for group in made]
    notes += _ratio(made, layout)
    for note in notes:
        yield Notice(note)
    if layout.zipped:
        data = zipped(files)
        _refuse_other_zip(out)
        write_bytes(out, data)
        digest = sha256_bytes(data)
    else:
        own = configs(told) if configs is not None else {}
        files |= {name: text.encode() for name, text in own.items()}
        about = {"target": layout.name, **source.facts, "trigger": source.trigger}
        about |= {"control": mode, "control_size": control_size if mode != "none" else None}
        digest = _write(out, files, {**about, "groups": told})
    yield Result(
        {
            "target": layout.name,
            "path": str(out),
            "groups": told,
            "files": len(files),
            "sha256": digest,
            "notes": notes,
        }
    )


def describe(group: Group, layout: Layout) -> dict[str, Any]:
    """A group as configs and reports need it: folder, counts, control folders."""
    several = group.controls > 1 and layout.name != "musubi"
    count = group.controls if several else min(group.controls, 1)
    places = [f"{group.name}{CONTROL}{n + 1 if several else ''}" for n in range(count)]
    folder = f"train/{group.repeats or 1}_{group.name}" if layout.name == "kohya" else group.name
    return {
        "name": group.name,
        "folder": "train" if layout.name == "diffusers" else folder,
        "images": len(group.pairs),
        "repeats": group.repeats or 1,
        "bodies": group.is_bodies,
        "controls": [] if layout.zipped else places,
        "samples": [
            {"caption": pair.caption, "controls": _control_files(group, pair, layout)}
            for pair in group.pairs[:: max(len(group.pairs) // SAMPLES, 1)][:SAMPLES]
        ],
    }


def _control_files(group: Group, pair: Pair, layout: Layout) -> list[str]:
    """Where the controls of one pair lie, relative to the export."""
    names = files_of([replace(group, pairs=(pair,))], layout, "") if pair.controls else {}
    return sorted(n for n in names if CONTROL in n.partition("/")[0])


def _ratio(groups: Sequence[Group], layout: Layout) -> list[str]:
    """The true share of passes of two groups, and when the target cannot keep it."""
    if len(groups) < 2:
        return []
    counts = [len(g.pairs) for g in groups]
    wanted = [len(g.pairs) * (g.repeats or 1) for g in groups]

    def said(numbers: list[int]) -> str:
        return " : ".join(f"{100 * n / sum(numbers):.0f} %" for n in numbers)

    names = " : ".join(g.name for g in groups)
    if layout.repeats is None and len({g.repeats for g in groups}) > 1:
        return [
            f"{layout.name} shows every picture equally often: {names} is {said(counts)} of the "
            f"passes, not {said(wanted)}."
        ]
    return [f"{names} is {said(wanted)} of the passes."]


def _refuse_other_zip(out: Path) -> None:
    if out.is_dir():
        raise UsageError("This is a folder; the export is one zip", where=str(out))


def changed_since(out: Path) -> list[str] | None:
    """Files of an earlier export that a hand changed or removed; None when `out` is no export."""
    try:
        listed = json.loads((out / MANIFEST).read_text("utf-8"))["files"]
        return [n for n, d in listed.items() if not _is(out / n, str(d))]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _holds(out: Path, manifest: str) -> bool:
    try:
        return (out / MANIFEST).read_text("utf-8") == manifest
    except OSError:
        return False


def _is(file: Path, digest: str) -> bool:
    return file.is_file() and sha256_file(file) == digest


def _write(out: Path, files: Mapping[str, bytes], about: dict[str, Any]) -> str:
    """The folder, whole: written beside, then renamed. Returns the manifest's hash."""
    earlier = changed_since(out) if out.exists() else []
    if earlier is None and (out.is_file() or any(out.iterdir())):
        raise UsageError(
            "There is something else here, and it is not written over",
            where=str(out),
            fix="Give another folder with --out.",
        )
    if earlier:
        raise UsageError(
            f"{len(earlier)} files were changed here since they were exported ({earlier[0]})",
            where=str(out),
            fix="Take captions back with `limner dataset import`, or give another --out.",
        )
    sums = {name: sha256_bytes(data) for name, data in sorted(files.items())}
    text = json.dumps({**about, "files": sums}, indent=1, ensure_ascii=False) + "\n"
    if out.exists() and _holds(out, text):
        return sha256_bytes(text.encode())  # the same export: a trainer's caches in it stay
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    old = out.with_name(f".{out.name}.{os.getpid()}.old")
    try:
        shutil.rmtree(part, ignore_errors=True)
        for name, data in {**files, MANIFEST: text.encode()}.items():
            place = part / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            if name.endswith(".sh"):
                place.chmod(0o755)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            out.replace(old)
        part.replace(out)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise explain_os_error(error, out) from None
    shutil.rmtree(old, ignore_errors=True)
    return sha256_bytes(text.encode())
