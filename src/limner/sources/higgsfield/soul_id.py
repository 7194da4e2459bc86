"""A Soul ID: the service's trained reference of the character, made once from a folder of pictures.

In: a project and a folder. Out: events; the id in character.yaml (`source.higgsfield.soul_id`).
Creating one has no idempotency at the service: the name is unique and journaled first, and the
account's list is asked before anything is created.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from limner.errors import InputError, UsageError, WorkFailedError
from limner.events import Events, Notice, Progress, Result, Ticker
from limner.project import Project
from limner.project.files import sha256_bytes, write_json
from limner.project.rules import Rule
from limner.sources.higgsfield.api import Api, advise
from limner.sources.higgsfield.keys import find_keys
from limner.sources.higgsfield.models import VERSIONS
from limner.sources.normal import SUFFIXES, Plain, plain
from limner.sources.source import LaterError
from limner.sources.wire import WireError

PICTURES: dict[str, Rule] = {
    "most": Rule(100, "published", "API reference", "pictures the service takes"),
    "wanted": Rule(20, "published", "Higgsfield's own material", "pictures it asks for"),
    "few": Rule(
        10, "community", "guide 08 of claude-ai-image-expert", "fewer give a poor likeness"
    ),
    "short_side": Rule(1024, "published", "Higgsfield's own material", "pixels of the short side"),
}
"""What the pictures of a Soul ID are held against."""

JOURNAL = Path("logs") / "soul_ids.json"
"""Name -> {version, digest, links {sha256: address}, id, state}, in the project."""

TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}


def create_soul_id(project: Project, folder: Path, *, base_url: str | None = None) -> Events:
    """Train a Soul ID of the settings' model family and wait for it; run again after a stop.

    Result: {id, name, model_version, pictures, created, file}. Raises InputError for the pictures,
    UsageError without keys, LaterError when the service must be asked later, WorkFailedError when
    it could not be trained.
    """
    settings = project.character.source.higgsfield
    version = VERSIONS[settings.model]
    pictures = _pictures(folder)
    with project.exclusive("sources"):
        api = Api(find_keys(), base_url=base_url, limits=project.character.source.limits)
        try:
            for text in (*_warnings(pictures), *_face_warnings(pictures)):
                yield Notice(text, "warning")
            yield Notice(
                "The service has no price list for this; others report about $3 and 5 minutes. By "
                "uploading you confirm the right to use every face shown. The service may use what "
                "it is sent for its own training."
            )
            work = _Making(project, api, version, pictures)
            yield from work.go()
            project.change_character(source__higgsfield__soul_id=work.entry["id"])
            project.store.log("sources", "soul_id", id=work.entry["id"], version=version)
        except WireError as error:
            raise advise(error, api.keys.origin) from None
        finally:
            api.close()
    found = {"id": work.entry["id"], "name": work.name, "model_version": version}
    more = {"pictures": len(pictures), "created": work.created, "file": "character.yaml"}
    yield Result({**found, **more})


def _pictures(folder: Path) -> dict[str, tuple[str, Plain]]:
    """Digest -> (file name, plain picture). Raises InputError."""
    if not folder.is_dir():
        what = "This is a file, not a folder" if folder.exists() else "There is no such folder"
        raise UsageError(what, where=str(folder), fix="Give a folder of pictures.")
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.is_file())
    if not files or len(files) > PICTURES["most"].value:
        most = int(PICTURES["most"].value)
        raise InputError(
            f"{len(files)} pictures: a Soul ID is made from 1 to {most}",
            where=str(folder),
            fix="Give a folder with 20 or more sharp pictures of the one person.",
        )
    found: dict[str, tuple[str, Plain]] = {}
    for file in files:
        try:
            one = plain(file.read_bytes())
        except (InputError, OSError) as error:
            what = error.what if isinstance(error, InputError) else str(error.strerror)
            raise InputError(
                what, where=str(file), fix="Take it out of the folder, or repair it."
            ) from None
        found.setdefault(sha256_bytes(one.data), (file.name, one))
    return found


def _warnings(pictures: dict[str, tuple[str, Plain]]) -> list[str]:
    said = []
    count = len(pictures)
    if count < PICTURES["few"].value:
        said.append(f"Only {count} pictures; under 10 the likeness is poor, 20 or more are asked.")
    elif count < PICTURES["wanted"].value:
        said.append(f"{count} pictures; the service asks for 20 or more.")
    least = int(PICTURES["short_side"].value)
    small = [name for name, one in pictures.values() if min(one.width, one.height) < least]
    if small:
        said.append(f"{len(small)} pictures are smaller than {least} px: {', '.join(small[:5])}")
    return said


def _face_warnings(pictures: dict[str, tuple[str, Plain]]) -> list[str]:
    """Pictures without a face, or with several: a reference is of one person."""
    import io

    import numpy as np
    from PIL import Image

    from limner.vision import faces

    reason = faces.available("photo")
    if reason is not None:
        return [f"Faces were not looked for: {reason}"]
    none: list[str] = []
    several: list[str] = []
    for name, one in pictures.values():
        image = np.array(Image.open(io.BytesIO(one.data)).convert("RGB"))
        count = len(faces.find_faces(image, kind="photo", thorough=False))
        if count != 1:
            (several if count else none).append(name)
    said = []
    if none:
        said.append(f"no face was found in {len(none)} pictures: {', '.join(none[:5])}")
    if several:
        said.append(f"more than one face stands in {len(several)}: {', '.join(several[:5])}")
    return said


class _Making:
    """One Soul ID in the making, with its entry in the journal."""

    def __init__(
        self, project: Project, api: Api, version: str, pictures: dict[str, tuple[str, Plain]]
    ) -> None:
        self.api = api
        self.version = version
        self.pictures = pictures
        self.file = project.root / JOURNAL
        self.created = False
        try:
            self.all: dict[str, dict[str, Any]] = json.loads(self.file.read_text("utf-8"))
        except (OSError, ValueError):
            self.all = {}
        digest = sha256_bytes(f"{version} {' '.join(sorted(pictures))}".encode())[:12]
        plain_name = f"{project.character.trigger}-{version}-{digest}"
        number = 1
        while self.all.get(_numbered(plain_name, number), {}).get("state") == "failed":
            number += 1  # the service keeps failed ones under their name
        self.name = _numbered(plain_name, number)
        self.entry = self.all.setdefault(self.name, {"version": version, "links": {}})

    def _save(self, **facts: Any) -> None:
        self.entry.update(facts)
        write_json(self.file, self.all)

    def go(self) -> Events:
        self._save()
        if not self.entry.get("id"):
            old = next((r for r in self.api.references() if r.get("name") == self.name), None)
            if old is None:
                yield from self._upload()
                self._create()
            else:
                self._save(id=str(old["id"]), state=old.get("status"))
        yield from self._wait()

    def _upload(self) -> Events:
        links = self.entry["links"]
        left = {k: v for k, v in self.pictures.items() if k not in links}
        ticker = Ticker("uploading", len(self.pictures), already=len(links))
        for digest, (name, one) in left.items():
            links[digest] = self.api.upload(one.data, TYPES[one.suffix])
            self._save()
            yield ticker.tick(note=name)

    def _create(self) -> None:
        links = [self.entry["links"][digest] for digest in self.pictures]
        self._save(state="creating")
        try:
            made = self.api.create_reference(self.name, self.version, links)
        except WireError as error:
            if error.status is None or error.again:
                raise LaterError(
                    f"Whether the Soul ID was begun is not known ({error.what})",
                    where=error.where,
                    fix="Run the same command again: it asks the service's list by name first.",
                    stop=True,
                ) from None
            if error.status in (400, 422):
                self._save(links={})  # addresses may have expired: upload again next time
            raise
        self.created = True
        if not made.get("id"):
            raise LaterError(
                "Higgsfield began the Soul ID but gave it no number",
                where=self.name,
                fix="Run the same command again: it asks the service's list by name first.",
                stop=True,
            )
        self._save(id=str(made["id"]), state=made.get("status"))

    def _wait(self) -> Events:
        limits = self.api.limits
        end, wait = time.monotonic() + limits["soul_id_s"], limits["poll_first_s"]
        while True:
            found = self.api.reference(self.entry["id"])
            state = str(found.get("status"))
            if state != self.entry.get("state"):
                self._save(state=state)
            if state == "completed":
                self._save(links={})  # public addresses of the pictures: not needed any more
                yield Progress("training the Soul ID", 1, 1)
                return
            if state == "failed":
                raise WorkFailedError(
                    "Higgsfield could not train the Soul ID"
                    f" ({found.get('fail_reason') or 'no reason given'})",
                    where=self.name,
                    fix="Use sharp pictures of one person, without masks or sunglasses, and run "
                    "the command again.",
                )
            yield Progress("training the Soul ID", 0, 1, note=state)
            if time.monotonic() > end or self.api.wire.wait(wait):
                raise LaterError(
                    f"The Soul ID is still {state}",
                    where=self.name,
                    fix="Run the same command again; it goes on waiting.",
                )
            wait = min(wait * 1.5, limits["poll_longest_s"])


def _numbered(name: str, number: int) -> str:
    return name[:90] + (f"-{number}" if number > 1 else "")
