"""Real bodies for the optional second folder: copied with their licence and consent, never without.

In: a folder or zip, the licence, the consent. Out: plain copies in `takes/realism/` and the record
`takes/realism/pictures.json`, which the dataset reads. They belong to no shot and to no character.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from limner.errors import InputError, UsageError
from limner.events import Events, Result, Ticker
from limner.project import Project
from limner.project.files import sha256_bytes, write_bytes, write_json
from limner.project.store import now
from limner.sources.intake.opening import LeftOut, opened
from limner.sources.intake.stage import refuse_own_folder
from limner.sources.normal import plain

FOLDER = Path("takes") / "realism"
RECORD = "pictures.json"
MIN_WORDS = 3
"""Characters below which a licence or a consent says nothing."""


def realism(
    project: Project, path: Path, *, licence: str, consent: str, dry_run: bool = False
) -> Events:
    """Take real pictures of bodies with their licence and the consent of who is shown.

    licence: which, and from where; consent: its proof, or why none is needed. Raises UsageError
    without either. Result: {taken, folder, pictures [{file, from}], leftovers, dry_run}.
    """
    for name, text in (("licence", licence), ("consent", consent)):
        if len(text.strip()) < MIN_WORDS:
            raise UsageError(
                f"Real pictures of people are taken only with their {name}",
                where=f"--{name}",
                fix='Name it, e.g. --licence "CC0, example.org/set-12" '
                '--consent "model release 2026-03, releases/set-12.pdf".',
            )
    refuse_own_folder(project, path)
    folder = project.folder(FOLDER.as_posix())
    added: list[dict[str, Any]] = []
    with project.exclusive("sources"), opened(path) as (dropped, out):
        record = _read(folder / RECORD)
        known = {entry["original_sha256"] for entry in record}
        ticker = Ticker("taking", len(dropped))
        for one in dropped:
            try:
                data = one.read()
                digest = sha256_bytes(data)
                made = plain(data)
            except InputError as error:
                out.append(LeftOut(one.name, error.what))
                yield ticker.tick(note=one.name)
                continue
            if digest in known:
                out.append(LeftOut(one.name, "taken already"))
            else:
                known.add(digest)
                name = f"real_{len(record) + 1:03d}{made.suffix}"
                about = {"licence": licence.strip(), "consent": consent.strip(), "added": now()}
                sizes = {"width": made.width, "height": made.height}
                sums = {"sha256": sha256_bytes(made.data), "original_sha256": digest}
                entry = {
                    "file": name,
                    "from": one.name,
                    "kind": "realism",
                    **sums,
                    **sizes,
                    **about,
                }
                record.append(entry)
                added.append({"file": name, "from": one.name})
                if not dry_run:  # the picture first: a record never names a file that is not there
                    write_bytes(folder / name, made.data)
                    write_json(folder / RECORD, record)
            yield ticker.tick(note=one.name)
    if added and not dry_run:
        project.store.log("sources", "realism", taken=len(added), licence=licence.strip())
    left = [{"file": one.name, "reason": one.reason} for one in out]
    yield Result({"taken": len(added), "folder": FOLDER.as_posix(), "pictures": added,
                  "leftovers": left, "dry_run": dry_run})  # fmt: skip


def _read(file: Path) -> list[dict[str, Any]]:
    """The record so far. Raises InputError when a hand has damaged it."""
    if not file.exists():
        return []
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        return [dict(entry) for entry in found if entry["original_sha256"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            "The record of the real pictures cannot be read",
            where=str(file),
            fix="Restore it from a backup; it holds the licences.",
        ) from None
