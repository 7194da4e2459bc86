"""Caption files beside pictures, and which of them a person changed.

In: a `Project`. Out: the files, and texts that no record has. Light: `status` asks it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from limner.errors import InputError
from limner.project.files import sha256_file
from limner.project.folder import Project
from limner.project.records import Take


@dataclass(frozen=True)
class Edited:
    """A caption that a person wrote into a file. text: on one line, never empty."""

    take_id: int
    file: Path
    text: str


def text_file(project: Project, take: Take) -> Path:
    """The caption's file beside the picture. Raises InputError for a take without one."""
    if take.path is None:
        raise InputError(f"take {take.id} has no picture", where=take.shot_id)
    return project.path(take.path).with_suffix(".txt")


def edited(project: Project) -> list[Edited]:
    """Captions a person changed in files, not taken over yet, in the order they count.

    Looked at: the text beside each kept picture, and the newest dataset's folders. A text that the
    take never had is a person's, however old its file says to be (copies keep their times); an
    earlier caption counts when it was saved after the newest one. Raises InputError for no UTF-8.
    """
    newest = {take: caption.text for take, caption in project.store.captions().items()}
    found = []
    for take_id, file, written in _files(project):
        text = _read(file)
        if text is None or text == newest.get(take_id):
            continue
        if written is not None and sha256_file(file) == written:
            continue
        history = project.store.caption_history(take_id)
        saved = datetime.fromtimestamp(file.stat().st_mtime, UTC)
        known = any(text == one.text for one in history)
        if known and saved <= datetime.fromisoformat(history[-1].created_at):
            continue  # left behind by a kill between record and file
        newest[take_id] = text
        found.append(Edited(take_id, file, text))
    return found


def _files(project: Project) -> Iterator[tuple[int, Path, str | None]]:
    """(take id, caption file, hash of what Limner wrote there if it is known), existing files."""
    for take in project.store.kept():
        file = text_file(project, take)
        if file.is_file():
            yield take.id, file, None
    dataset = project.store.dataset()
    if dataset is None:
        return
    folder = project.path(dataset.lock.get("root", dataset.path))
    for entry in (*dataset.lock.get("pictures", ()), *dataset.lock.get("held_out", ())):
        file = folder / entry.get("caption_file", "")
        if file.is_file():
            yield int(entry["take"]), file, entry["caption_sha256"]


def _read(file: Path) -> str | None:
    """The file's caption on one line, None when it is empty. Raises InputError."""
    try:
        text = file.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the caption cannot be read: {error}", where=str(file), fix="Save it as UTF-8 text."
        ) from None
    return " ".join(text.split()) or None
