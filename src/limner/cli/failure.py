"""Any exception as an error a person can act on; tracebacks go to a log file, without secrets.

In: an exception that reached the command line. Out: a `LimnerError` with its exit code.
"""

from __future__ import annotations

import errno
import os
import re
import sqlite3
import sys
import tempfile
import time
import traceback
from pathlib import Path

import typer

from limner.cli.help import usage
from limner.errors import LimnerError, MissingExtraError, StoreError, WorkFailedError

_CLICK_EXCEPTION = typer.BadParameter.__mro__[2]  # typer carries its own click or uses the real one
_SECRET_NAME = re.compile(r"(KEY|TOKEN|SECRET|PASSWORD|AUTH)", re.IGNORECASE)
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.EPERM, errno.ENOTDIR)
_EXTRAS = {
    **dict.fromkeys(("cv2", "imagehash", "onnxruntime", "scipy"), "vision"),
    **dict.fromkeys(("dlib", "face_recognition_models"), "faces"),
    **dict.fromkeys(("torch", "diffusers", "transformers", "peft", "accelerate"), "train"),
    "pi_heif": "heic",
    **dict.fromkeys(("tensorboard", "tokenizers", "huggingface_hub"), "train"),
}
_MIN_SECRET = 6  # shorter values would blank out ordinary words


def explain(error: Exception, root: Path) -> LimnerError:
    """The error to show. What nobody foresaw is written to a log and named in one line."""
    if isinstance(error, LimnerError):
        if error.where == ".":  # the project one stands in: a full path says which
            error.where = str(root.resolve())
        return error
    if isinstance(error, _CLICK_EXCEPTION):
        return usage(error)
    if isinstance(error, typer.Abort):
        return WorkFailedError("interrupted")
    if isinstance(error, sqlite3.Error):
        return StoreError(
            f"limner.db: {error}",
            where=str(root / "limner.db"),
            fix="Run the command again; if it stays, take the file from an archive "
            "(NAME.limner.zip) or another backup.",
        )
    if isinstance(error, OSError) and error.errno in _DISK:
        from limner.project.files import explain_os_error

        place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else root
        return explain_os_error(error, Path(place))
    if isinstance(error, MemoryError):
        return WorkFailedError(
            "Out of memory", fix="Close other programs, or lower the picture size or the batch."
        )
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] in _EXTRAS:
        return _missing_extra(str(error.name).split(".")[0])
    log = write_log(error, root)
    first = redact(str(error)).strip().splitlines()
    said = f"{type(error).__name__}: {first[0]}" if first else type(error).__name__
    return WorkFailedError(
        f"Something unforeseen went wrong ({said})",
        where=str(log) if log else None,
        fix="What is done stays done. Please report this with the log named above.",
    )


def _missing_extra(module: str) -> MissingExtraError:
    extra = _EXTRAS[module]
    return MissingExtraError(
        f"This needs `{module}`, which is not installed",
        fix=f"Install it with: pip install 'limner[{extra}]'",
    )


def redact(text: str) -> str:
    """`text` with the values of secret environment variables blanked out."""
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _MIN_SECRET:
            text = text.replace(value, f"<{name}>")
    return text


def write_log(error: Exception, root: Path) -> Path | None:
    """Write the traceback beside the project's locks, else in the temp folder; None if neither."""
    text = redact(f"{' '.join(sys.argv)}\n\n{''.join(traceback.format_exception(error))}")
    name = f"limner-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    places = [root / ".limner"] if (root / "limner.db").exists() else []
    for place in (*places, Path(tempfile.gettempdir())):
        try:
            place.mkdir(exist_ok=True)
            (place / name).write_text(text, encoding="utf-8")
        except OSError:
            continue
        return place / name
    return None
