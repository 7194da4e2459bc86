"""What a person drops in: a folder or a zip, read without trusting it.

In: a path. Out: `Dropped` files in natural order, and what was left out with its reason. Nothing is
unpacked to disk, so no path in a zip leads anywhere; sizes are counted while reading, because what
a zip says about itself may be false.
"""

from __future__ import annotations

import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from limner.errors import InputError, UsageError
from limner.project.rules import Rule
from limner.sources.normal import SUFFIXES

INBOX: dict[str, Rule] = {
    "files": Rule(5000, "starting value", "ours", "most files looked at"),
    "file_bytes": Rule(100_000_000, "starting value", "ours", "largest file"),
    "all_bytes": Rule(4_000_000_000, "starting value", "ours", "most bytes of a whole inbox"),
    "zip_ratio": Rule(200, "starting value", "ours", "most a zip entry may grow by unpacking"),
    "prompt_likeness": Rule(0.72, "starting value", "ours", "shared words that make a match"),
    "prompt_margin": Rule(0.1, "starting value", "ours", "by which the best must lead"),
    "name_words": Rule(4, "starting value", "ours", "words of a prompt a file name must hold"),
}
"""Every number of the inbox."""

_JUNK = re.compile(r"^(\.|__MACOSX$|Thumbs\.db$|desktop\.ini$)", re.IGNORECASE)


@dataclass(frozen=True)
class Dropped:
    """One file. name: its path inside the folder or zip; read: its bytes. Raises InputError."""

    name: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class LeftOut:
    """A file that is not taken, and why."""

    name: str
    reason: str


def natural(name: str) -> list[tuple[int, str]]:
    """Sort key that counts as people do: img2 before img10."""
    parts = re.split(r"(\d+)", name.lower())
    return [(int(p), "") if p.isdigit() else (-1, p) for p in parts]


def shown(name: str) -> str:
    """A name as it can be printed and stored: bytes that are no UTF-8 and control characters are
    written out (`\\xff`, `\\n`)."""
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@contextmanager
def opened(path: Path) -> Iterator[tuple[list[Dropped], list[LeftOut]]]:
    """The pictures of a folder or zip. Raises UsageError, InputError (damaged zip, too many)."""
    if path.is_dir():
        yield _folder(path)
        return
    if not path.is_file():
        raise UsageError("There is no such folder or zip", where=str(path), fix="Check the path.")
    if not zipfile.is_zipfile(path):
        cut = path.suffix.lower() == ".zip"
        raise InputError(
            "The zip is damaged or cut off" if cut else "This is neither a folder nor a zip",
            where=str(path),
            fix="Give a folder of pictures or a whole .zip.",
        )
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise InputError(f"The zip is damaged ({error})", where=str(path)) from None
    with archive:
        yield _zip(path, archive)


def _folder(root: Path) -> tuple[list[Dropped], list[LeftOut]]:
    found, out = [], []
    inside = root.resolve()
    for file in sorted(root.rglob("*"), key=lambda p: natural(p.relative_to(root).as_posix())):
        name = shown(file.relative_to(root).as_posix())
        if any(_JUNK.match(part) for part in PurePosixPath(name).parts):
            continue
        if file.is_symlink() or not file.resolve().is_relative_to(inside):
            out.append(LeftOut(name, "a link is not followed"))
        elif file.is_dir():
            continue
        elif not file.is_file():
            out.append(LeftOut(name, "this is no ordinary file"))
        elif file.suffix.lower() in SUFFIXES:
            found.append(Dropped(name, _reader(file)))
            _not_too_many(len(found), root)
        else:
            out.append(LeftOut(name, "not a picture"))
    return found, out


def _reader(file: Path) -> Callable[[], bytes]:
    def read() -> bytes:
        most = int(INBOX["file_bytes"].value)
        try:
            if file.stat().st_size > most:
                raise InputError(f"larger than {most / 1e6:.0f} MB")
            return file.read_bytes()
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror or error})") from None

    return read


def _zip(path: Path, archive: zipfile.ZipFile) -> tuple[list[Dropped], list[LeftOut]]:
    found, out = [], []
    infos = archive.infolist()
    _not_too_many(len(infos), path)
    if sum(i.file_size for i in infos) > INBOX["all_bytes"].value:
        raise InputError(
            "The zip would unpack to more than "
            f"{INBOX['all_bytes'].value / 1e9:.0f} GB and is not opened",
            where=str(path),
            fix="Give the pictures in several zips or as a folder.",
        )
    seen: set[str] = set()
    for info in sorted(infos, key=lambda i: natural(i.filename)):
        name = shown(info.filename.replace("\\", "/"))
        parts = PurePosixPath(name).parts
        if info.is_dir() or any(_JUNK.match(part) for part in parts if part != ".."):
            continue
        reason = _why_not(info, name, parts)
        if reason is None and name in seen:
            reason = "a second file of this name"
        seen.add(name)
        if reason is None:
            found.append(Dropped(name, _unpacker(archive, info)))
        else:
            out.append(LeftOut(name, reason))
    return found, out


def _why_not(info: zipfile.ZipInfo, name: str, parts: tuple[str, ...]) -> str | None:
    if name.startswith("/") or ".." in parts or re.match(r"^[A-Za-z]:", name):
        return "its path leads out of the zip"
    mode = info.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        return "a link or special file is not followed"
    if PurePosixPath(name).suffix.lower() not in SUFFIXES:
        return "not a picture"
    if info.flag_bits & 0x1:
        return "it is locked with a password"
    if info.file_size > INBOX["zip_ratio"].value * max(info.compress_size, 1):
        return "it would unpack to suspiciously much"
    return None


def _unpacker(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Callable[[], bytes]:
    def read() -> bytes:
        most = int(INBOX["file_bytes"].value)
        try:
            with archive.open(info) as member:
                data = member.read(most + 1)
        except (*(zipfile.BadZipFile, zlib.error, OSError, EOFError, RuntimeError),
                *(NotImplementedError, ValueError)) as error:  # fmt: skip
            raise InputError(f"damaged in the zip ({error})") from None
        if len(data) > most:
            raise InputError(f"larger than {most / 1e6:.0f} MB")
        return data

    return read


def _not_too_many(count: int, where: Path) -> None:
    most = int(INBOX["files"].value)
    if count > most:
        raise InputError(
            f"More than {most} files", where=str(where), fix="Give them in smaller parts."
        )
