"""Import: captions that were edited outside come home, attributed to a person.

In: a project and a folder or zip of any layout. Out: new captions of the takes whose pictures are
in it. Pictures that belong to no take are named; `limner inbox` takes those in.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from limner.dataset.bodies import bodies, body_caption
from limner.dataset.layouts import Pair
from limner.dataset.reading import read
from limner.errors import InputError
from limner.events import Events, Result, Ticker
from limner.project import Project
from limner.project.files import sha256_bytes, write_text
from limner.project.records import Take


def import_dataset(project: Project, path: Path, *, dry_run: bool = False) -> Events:
    """Read a dataset back and take over the captions that differ, author `person`.

    A picture is recognised by its bytes, else by its pixels (an export may have made it PNG).
    Result: {target, pictures, captions [{file, take, was, now}], unknown, missing, passed_over,
    dry_run}. Raises UsageError (no such path), InputError (nothing in it).
    """
    found = read(path)
    pairs = [pair for group in found.groups for pair in group.pairs]
    with project.exclusive("captions"):
        known = _Known(project)
        standing = project.store.captions()
        changed: list[dict[str, Any]] = []
        unknown, seen = [], set()
        ticker = Ticker("reading", len(pairs))
        for pair in pairs:
            text = " ".join(pair.caption.split())
            take = known.take(pair)
            if take is not None:
                seen.add(take.id)
                was = standing[take.id].text if take.id in standing else ""
                if text and text != was:
                    changed.append({"file": pair.picture, "take": take.id, "was": was, "now": text})
                    if not dry_run:
                        project.store.put_caption(take.id, text, "person")
            elif (body := known.body(pair)) is not None:
                was = next(b.caption for b in known.bodies if b.source == body)
                now = body_caption(project.character.trigger, text)
                if now != was:
                    row = {"file": pair.picture, "take": None, "was": was, "now": now}
                    changed.append(row)
                    if not dry_run:
                        write_text(body.with_suffix(".txt"), f"{now}\n")
            else:
                unknown.append(pair.picture)
            yield ticker.tick(note=pair.stem)
        trained = project.store.dataset()
        missing = sorted(set(trained.train) - seen) if trained else []
        if changed and not dry_run:
            project.store.log("dataset", "imported", captions=len(changed), layout=found.target)
    yield Result(
        {
            "target": found.target,
            "pictures": len(pairs),
            "captions": changed,
            "unknown": unknown,
            "missing": missing,
            "passed_over": [list(row) for row in found.passed_over],
            "dry_run": dry_run,
        }
    )


class _Known:
    """The project's kept pictures, by bytes and (read only when needed) by pixels."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.takes = {t.sha256: t for t in project.store.kept() if t.sha256}
        self.bodies = bodies(project)
        self._pixels: dict[str, Take | Path] | None = None

    def take(self, pair: Pair) -> Take | None:
        """The kept take whose picture this is."""
        found = self.takes.get(sha256_bytes(pair.data)) or self._by_pixels(pair)
        return found if isinstance(found, Take) else None

    def body(self, pair: Pair) -> Path | None:
        """The real body's own file."""
        digest = sha256_bytes(pair.data)
        found = next((b.source for b in self.bodies if b.sha256 == digest), None)
        other = found or self._by_pixels(pair)
        return other if isinstance(other, Path) else None

    def _by_pixels(self, pair: Pair) -> Take | Path | None:
        if pair.suffix != ".png" or not self._webp():
            return None
        if self._pixels is None:
            self._pixels = {}
            for take in self.takes.values():
                file = self.project.path(str(take.path))
                self._pixels[_pixels(file.read_bytes()) if file.is_file() else ""] = take
            for body in self.bodies:
                if body.source.is_file():
                    self._pixels[_pixels(body.source.read_bytes())] = body.source
        return self._pixels.get(_pixels(pair.data))

    def _webp(self) -> bool:
        paths = [str(t.path) for t in self.takes.values()] + [b.picture for b in self.bodies]
        return any(p.lower().endswith(".webp") for p in paths)


def _pixels(data: bytes) -> str:
    """A hash of size and RGB values; two files with it show the same picture."""
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(data)) as source:
            picture = ImageOps.exif_transpose(source).convert("RGB")
    except OSError:
        raise InputError("A picture cannot be read") from None
    return sha256_bytes(repr(picture.size).encode() + picture.tobytes())
