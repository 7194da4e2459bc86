"""Files that are whole or absent: atomic writes, hashes, and a lock that dies with its process."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from limner.errors import LimnerError, UsageError, WorkFailedError


def explain_os_error(error: OSError, path: Path) -> LimnerError:
    """An OSError while writing as an error a user can act on."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return WorkFailedError(
            "The disk is full",
            where=str(path),
            fix="Free some space and run the same command again; what is done stays done.",
        )
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return WorkFailedError(
            "The folder cannot be written", where=str(path), fix="Give write permission, or move."
        )
    if error.errno == errno.ENOENT:
        return WorkFailedError(
            "The folder cannot be made here",
            where=str(path),
            fix="Choose another place to write to.",
        )
    if error.errno == errno.ENOTDIR or (
        error.errno == errno.EEXIST and any(part.is_file() for part in path.parents)
    ):
        return WorkFailedError(
            "A part of the path is a file, not a folder",
            where=str(path),
            fix="Choose another place to write to.",
        )
    in_the_way = error.errno in (errno.EEXIST, errno.EISDIR, errno.EBUSY)
    return WorkFailedError(
        f"Writing failed: {error.strerror or error}",
        where=str(path),
        fix="Something else of that name is in the way: move it." if in_the_way else None,
    )


_PART = re.compile(r"\..+\.(\d+)-\d+\.part")
"""What `write_bytes` calls a file that it is writing; the first number is the process."""
_swept: set[Path] = set()


def _sweep(folder: Path) -> None:
    """Once a process: remove what killed processes of this machine left half-written here."""
    if folder in _swept:
        return
    _swept.add(folder)
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:  # may be written to, not looked into
        return
    left = [name for name in names if (m := _PART.fullmatch(name)) and not _lives(int(m[1]))]
    for name in left:
        (folder / name).unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another's; no number of a process
        pass
    return True


def write_bytes(path: Path, data: bytes) -> None:
    """Write `path` whole: temp file beside it, fsync, rename. Raises WorkFailedError."""
    # the thread too: two requests of a web page may write one path at the same time
    temp = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        with temp.open("wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        temp.replace(path)
    except OSError as error:
        with suppress(OSError):  # it may not be there, nor its folder
            temp.unlink()
        raise explain_os_error(error, path) from None


def write_text(path: Path, text: str) -> None:
    """`write_bytes` in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, data: Any) -> None:
    """Indented JSON with a trailing newline, written whole."""
    write_text(path, json.dumps(data, indent=1, ensure_ascii=False, sort_keys=False) + "\n")


def sha256_bytes(data: bytes) -> str:
    """Hex SHA-256."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as source:
        for block in iter(lambda: source.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def canonical_json(data: Any) -> str:
    """One spelling of `data`, for hashing."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _locked(handle: IO[str]) -> bool:
    """Take the lock; tried for 0.1 s, because `status` holds it for an instant to look at it."""
    for _ in range(10):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(0.01)
        else:
            return True
    return False


@contextmanager
def exclusive(path: Path, what: str) -> Iterator[None]:
    """Hold a lock file for the length of the block; it dies with the process.

    Raises UsageError at once when another process holds it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a+")
    except OSError as error:
        raise explain_os_error(error, path) from None
    with handle:
        if not _locked(handle):
            handle.seek(0)
            holder = handle.read().strip() or "another process"
            raise UsageError(
                f"{what} is already running here ({holder})",
                where=str(path.parent.parent),
                fix="Wait for it, or stop it, then run this again.",
            ) from None
        handle.seek(0)
        handle.truncate()
        handle.write(f"process {os.getpid()}")
        handle.flush()
        yield
