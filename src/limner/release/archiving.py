"""A project as one file: pictures, captions, records, lock, verdict, report, with a manifest.

In: a project. Out: NAME.limner.zip, the same bytes for the same project. Entries are stored, not
compressed, and laid out in one fixed way: `check` lays them out again and compares byte by byte,
so that any changed byte is found, be it in a picture or in the zip's own tables.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sqlite3
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any

from limner.errors import InputError, UsageError, WorkFailedError
from limner.events import Events, Notice, Result, Ticker
from limner.project import Project, files
from limner.release import locks, page, story
from limner.release.receipt import Finding, encode, finding

SUFFIX = ".limner.zip"
MANIFEST = "manifest.json"
FORMAT = "limner archive 1"
FOLDERS = ("shots", "takes", "dataset", "logs", "renders", "release")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can say; the same for everybody
_BLOCK = 1 << 20
_UNSAFE = re.compile(r'[\x00-\x1f<>:"|?*\\]')


def archive(project: Project, out: Path) -> Events:
    """Write the archive; Result: {path, files, bytes, missing, sha256}.

    missing: recorded pictures and the chosen checkpoint where the project has lost them.

    Takes character.yaml, limner.db, the stage folders and the chosen checkpoint (the others stay
    out: they are large and can be trained again). Raises UsageError, InputError, WorkFailedError.
    """
    if not out.name.endswith(SUFFIX):
        whole = out.with_name(out.name.removesuffix(".zip") + SUFFIX)
        raise UsageError(
            f"An archive's name ends in {SUFFIX}", where=str(out), fix=f"Give --out {whole}."
        )
    with project.exclusive("archive"):
        yield from _archive(project, out)


def _archive(project: Project, out: Path) -> Events:
    dataset = project.store.dataset()
    if dataset and (changed := locks.changed(project, dataset)):
        words = f"{changed[0]}" + (f" and {len(changed) - 1} more" if len(changed) > 1 else "")
        yield Notice(f"The dataset no longer matches its lock: {words}.", "warning")
    with tempfile.TemporaryDirectory(prefix="limner-") as scratch:
        sources = _made_now(project, Path(scratch)) | _collected(project)
        missing = _missing(project, sources)
        if missing:
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            yield Notice(
                f"Not in the archive, for the files are gone: {missing[0]}{more}.", "warning"
            )
        ticker = Ticker("archive", len(sources))
        rows = []
        for name, path in sorted(sources.items()):
            rows.append(
                {"path": name, "bytes": path.stat().st_size, "sha256": files.sha256_file(path)}
            )
            yield ticker.tick()
        manifest = Path(scratch) / MANIFEST
        manifest.write_bytes(encode({"format": FORMAT, "files": rows}))
        temp = out.with_name(f".{out.name}.{os.getpid()}.part")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            with temp.open("wb") as raw:
                everything = {MANIFEST: manifest, **sources}
                lay_out(raw, of_files(everything))
                raw.flush()
                os.fsync(raw.fileno())
            temp.replace(out)
        except OSError as error:
            temp.unlink(missing_ok=True)
            raise files.explain_os_error(error, out) from None
    value = {"path": str(out), "files": len(rows), "bytes": out.stat().st_size, "missing": missing}
    yield Result({**value, "sha256": files.sha256_file(out)})


def _made_now(project: Project, scratch: Path) -> dict[str, Path]:
    """Database, report and verdict as they are at this moment."""
    database = scratch / "limner.db"
    try:
        with sqlite3.connect(project.store.path) as db:  # a reader: the file itself stays as it is
            db.execute("VACUUM INTO ?", [str(database)])
        db.close()
    except sqlite3.Error as error:
        raise WorkFailedError(
            f"limner.db cannot be copied: {error}",
            where=str(project.store.path),
            fix="Free some disk; if it stays, restore limner.db from a backup.",
        ) from None
    made = {"limner.db": database, "report.html": scratch / "report.html"}
    made["report.html"].write_text(page.render(project), encoding="utf-8")
    if record := project.store.verdict():
        made["verdict.json"] = scratch / "verdict.json"
        files.write_json(made["verdict.json"], {"version": record.version, "data": record.data})
    return made


def _collected(project: Project) -> dict[str, Path]:
    found = {"character.yaml": project.root / "character.yaml"}
    for folder in FOLDERS:
        for path in sorted((project.root / folder).rglob("*")):
            name = path.relative_to(project.root).as_posix()
            hidden = any(part.startswith(".") for part in PurePosixPath(name).parts)
            if path.is_symlink() or not path.is_file() or hidden or name.endswith(SUFFIX):
                continue
            found[name] = path
    for checkpoint in story.kept_checkpoints(project):
        if project.path(checkpoint.path).is_file():
            found[checkpoint.path] = project.path(checkpoint.path)
    for name in found:
        if not is_safe(name):
            fix = "Rename it, so that it can be unpacked on every system."
            raise InputError("A file name is not safe in an archive", where=name, fix=fix)
    return found


def _missing(project: Project, sources: dict[str, Path]) -> list[str]:
    """Recorded takes and the chosen checkpoints that have no file any more."""
    recorded = [take.path for take in project.store.takes(state="done") if take.path]
    recorded += [checkpoint.path for checkpoint in story.kept_checkpoints(project)]
    return [p for p in recorded if p not in sources and not project.path(p).is_file()]


def is_safe(name: str) -> bool:
    """A relative path that stays inside, with no character a system forbids."""
    parts = PurePosixPath(name).parts
    inside = bool(parts) and not name.startswith("/") and ".." not in parts and "." not in parts
    return inside and not _UNSAFE.search(name) and "/".join(parts) == name


Entry = tuple[str, Callable[[], IO[bytes]], int]
"""Name, what opens its bytes, how many there are; one at a time is open."""


def of_files(found: Mapping[str, Path]) -> Iterator[Entry]:
    """Entries of files by their names in the zip."""
    for name, path in found.items():
        yield name, partial(_read_from, path), path.stat().st_size


def _read_from(path: Path) -> IO[bytes]:
    return path.open("rb")


def lay_out(raw: IO[bytes], entries: Iterable[Entry]) -> None:
    """Write the zip in its one form: manifest first, then by path, stored, times fixed."""
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as box:
        for name, start, size in sorted(entries, key=lambda e: (e[0] != MANIFEST, e[0])):
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system, info.external_attr, info.file_size = 3, 0o644 << 16, size
            with start() as source, box.open(info, "w") as target:
                for block in iter(lambda source=source: source.read(_BLOCK), b""):  # type: ignore[misc]
                    target.write(block)


# ---- reading it again


def check(path: Path) -> list[Finding]:
    """What does not hold in an archive; empty when every byte is as it was written.

    Nothing is unpacked. Raises InputError when the file cannot be opened at all.
    """
    try:
        with path.open("rb") as raw, zipfile.ZipFile(raw) as box:
            found = list(_findings(box))
            if not found and not _same_layout(raw, box):
                found.append(finding("container", path.name, "The zip's own tables were changed."))
            return found
    except FileNotFoundError:
        raise InputError("There is no such file", where=str(path), fix="Check the path.") from None
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        said = f"The archive is damaged: {error}"
        return [finding("container", path.name, said, "Fetch or copy it again.")]


def _findings(box: zipfile.ZipFile) -> Iterator[Finding]:
    infos = box.infolist()
    names = [info.filename for info in infos]
    for info in infos:
        if not is_safe(info.filename) or names.count(info.filename) > 1:
            yield finding("path", info.filename, "An entry has an unsafe or doubled name.")
            return
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            yield finding("container", info.filename, "An entry was packed by another program.")
            return
    if MANIFEST not in names:
        yield finding("manifest", MANIFEST, "The manifest is missing.")
        return
    raw = _read(box, MANIFEST)
    try:
        manifest: dict[str, Any] = json.loads(raw)
        expected = {str(r["path"]): (int(r["bytes"]), str(r["sha256"])) for r in manifest["files"]}
    except (ValueError, TypeError, KeyError):
        yield finding("manifest", MANIFEST, "The manifest cannot be read: it was changed.")
        return
    if encode(manifest) != raw:
        yield finding("manifest", MANIFEST, "The manifest was changed.")
    for name in sorted(expected.keys() | set(names) - {MANIFEST}):
        if name not in names:
            yield finding("file", name, f"{name} is missing.")
        elif name not in expected:
            yield finding("file", name, f"{name} is not in the manifest.")
        elif _measure(box, name) != expected[name]:
            yield finding("file", name, f"{name} has changed since the archive was made.")


def _read(box: zipfile.ZipFile, name: str) -> bytes:
    with box.open(name) as source:
        return source.read()


def _measure(box: zipfile.ZipFile, name: str) -> tuple[int, str] | None:
    """Size and SHA-256 of an entry; None when the zip itself says that it is damaged."""
    digest, size = hashlib.sha256(), 0
    try:
        with box.open(name) as source:
            for block in iter(lambda: source.read(_BLOCK), b""):
                digest.update(block)
                size += len(block)
    except (zipfile.BadZipFile, OSError, EOFError):
        return None
    return size, digest.hexdigest()


def _same_layout(raw: IO[bytes], box: zipfile.ZipFile) -> bool:
    """Lay the entries out again in a scratch file and compare the two byte by byte."""
    infos = box.infolist()
    with tempfile.TemporaryFile() as again:
        lay_out(again, ((i.filename, partial(box.open, i), i.file_size) for i in infos))
        again.seek(0)
        raw.seek(0)
        while True:
            ours, theirs = again.read(_BLOCK), raw.read(_BLOCK)
            if ours != theirs:
                return False
            if not ours:
                return True
