"""Models a plan needs: are they here, how large are they, and fetching them so that a stop costs
nothing. In: a project or hub ids. Out: rows, events. Only safetensors and text files are fetched.

The hub's own cache and client are used (HF_HOME, HF_ENDPOINT, HF_TOKEN), but for large files: its
client begins a file anew after every stop (seen in 2.4), so those are streamed here into its cache,
with ranges, and handed to it whole. Every new file of known SHA-256 is checked against it.
"""

from __future__ import annotations

import errno
import os
import shutil
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.errors import InputError, LimnerError, MissingExtraError, UsageError, WorkFailedError
from limner.events import Event, Events, Notice, Progress, Result
from limner.project.files import exclusive, sha256_file

WANTED = (".safetensors", ".json", ".txt", ".model", ".jinja", ".tiktoken")
"""Endings that are fetched: weights without pickle, and what tokenizers and configs are made of."""
RESERVE_GB = 2.0
"""Disk that must stay free after a download (starting value)."""
LOOK_EVERY_S = 0.5
SMALL = 8_000_000
"""Bytes up to which a file is left to the hub's client (starting value)."""
ATTEMPTS, PAUSE_S = 5, 1.0
"""Tries of one file, and the first pause between them, doubled each time (starting values)."""


@dataclass(frozen=True)
class Part:
    """One file of a model on the hub. sha256: None where the hub names none (small text files)."""

    name: str
    size: int
    sha256: str | None
    here: bool


@dataclass(frozen=True)
class Needed:
    """A model with the files that are wanted of it."""

    name: str
    commit: str
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """Bytes of all its files."""
        return sum(p.size for p in self.parts)

    @property
    def missing(self) -> int:
        """Bytes still to be fetched."""
        return sum(p.size for p in self.parts if not p.here)


def is_hub_id(name: str) -> bool:
    """Whether a base's name is one of the hub and no folder."""
    plain = name.count("/") == 1 and not name.startswith((".", "/", "~"))
    return plain and not Path(name).is_dir()


def models_of(folder: Path) -> list[dict[str, Any]]:
    """The base that a project trains: {name, ok, state, fix}; [] when `folder` is no project."""
    from limner.project import Project

    try:
        base = Project.open(folder).character.training.base
    except LimnerError:
        return []
    from limner.models import resolve_base

    try:
        resolve_base(base)
    except InputError as error:
        fix = "limner doctor --fetch" if is_hub_id(base) else str(error.fix or "")
        return [{"name": base, "ok": False, "state": error.what, "fix": fix}]
    return [{"name": base, "ok": True, "state": "here", "fix": ""}]


def sizes(name: str) -> Needed:
    """Ask the hub for the files of a model. Raises InputError (no such model, no right to it),
    WorkFailedError (the hub cannot be reached), MissingExtraError."""
    hub = _hub()
    try:
        api = hub.HfApi(endpoint=_endpoint())
        found = api.model_info(name, files_metadata=True, timeout=30)
    except Exception as error:
        raise _explained(error, name) from None
    commit = str(found.sha)
    parts = []
    for file in found.siblings or []:
        if Path(file.rfilename).suffix not in WANTED:
            continue
        cached = hub.try_to_load_from_cache(
            name, file.rfilename, cache_dir=_cache(), revision=commit
        )
        size = int(file.size or 0)
        here = isinstance(cached, str) and Path(cached).stat().st_size == size
        digest = getattr(file.lfs, "sha256", None) if file.lfs else None
        parts.append(Part(file.rfilename, size, digest, here))
    if not parts:
        raise InputError(f"{name} holds no model files", where=name, fix="Check the name.")
    parts.sort(key=lambda p: (p.size, p.name))  # small ones first: a wrong model shows at once
    return Needed(name, commit, tuple(parts))


def fetch(names: Sequence[str], *, dry_run: bool = False) -> Events:
    """Fetch models into the hub's cache, saying their sizes before the first byte.

    A stop or kill costs nothing: files that are whole are not fetched again, a half one goes on
    where it ended. Result: {models: [{name, commit, path, bytes, fetched}], dry_run}. Raises
    UsageError, InputError, WorkFailedError (disk too small, hub gone, wrong SHA-256).
    """
    if not names:
        raise UsageError(
            "No model is named",
            where="limner doctor --fetch",
            fix="Set training.base to a Hugging Face id, or name one with --model.",
        )
    if local := [name for name in names if not is_hub_id(name)]:
        raise UsageError(
            f"{local[0]} is no model of the hub", where="--model", fix="Give an id: owner/name."
        )
    needed = []
    for name in dict.fromkeys(names):
        one = sizes(name)
        needed.append(one)
        here = one.total - one.missing
        yield Notice(
            f"{name}: {one.total / 1e9:.2f} GB in {len(one.parts)} files, {here / 1e9:.2f} GB are "
            f"here, {one.missing / 1e9:.2f} GB to fetch."
        )
    cache = _cache()
    missing = sum(n.missing for n in needed)
    free = shutil.disk_usage(_existing(cache)).free
    if missing and missing + RESERVE_GB * 1e9 > free:
        raise WorkFailedError(
            f"{missing / 1e9:.1f} GB are to be fetched, {free / 1e9:.1f} GB of disk are free",
            where=str(cache),
            fix="Free some space, or set HF_HOME to a larger disk.",
        )
    rows = []
    for one in needed:
        path = ""
        if not dry_run:
            with exclusive(cache / ".limner-fetch.lock", "fetching models"):
                path = yield from _fetch(one, cache)
        rows.append(
            {
                "name": one.name,
                "commit": one.commit,
                "path": path,
                "bytes": one.total,
                "fetched": 0 if dry_run else one.missing,
                "missing": one.missing if dry_run else 0,
            }
        )
    yield Result({"models": rows, "dry_run": dry_run})


def _fetch(one: Needed, cache: Path) -> Generator[Event, None, str]:
    """Fetch the files of one model; the snapshot's folder."""
    hub = _hub()
    done = one.total - one.missing
    began, came = time.monotonic(), 0
    total = max(one.total // 1_000_000, 1)
    path = Path()
    for part in one.parts:
        if not part.here and part.size > SMALL:
            start = None
            for now in _stream(one, part, cache):
                start = now if start is None else start
                pace = (came + now - start) / max(time.monotonic() - began, 1e-3)
                left = (one.missing - came - now) / pace if pace > 0 else None
                so_far = min((done + came + now) // 1_000_000, total)
                yield Progress(one.name, so_far, total, left, f"{part.name} (MB)")
        try:
            path = Path(
                hub.hf_hub_download(
                    one.name,
                    part.name,
                    revision=one.commit,
                    cache_dir=cache,
                    endpoint=_endpoint(),
                )
            )
        except Exception as error:
            raise _explained(error, one.name) from None
        if not part.here:
            came += part.size
            if part.size <= SMALL:
                _check(path, part)
    for _ in Path(one.parts[-1].name).parts:
        path = path.parent
    yield Progress(one.name, total, total, 0.0, "done (MB)")
    return str(path)


def _stream(one: Needed, part: Part, cache: Path) -> Generator[int, None, None]:
    """Fetch one large file into the hub's cache; yields the bytes that are there.

    What came before a stop lies in `blobs/<hash>.limner.part` and is gone on with by a range.
    """
    import httpx

    hub = _hub()
    url = hub.hf_hub_url(one.name, part.name, revision=one.commit, endpoint=_endpoint())
    blobs = cache / f"models--{one.name.replace('/', '--')}" / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    for attempt in range(ATTEMPTS):
        try:
            about = hub.get_hf_file_metadata(url, timeout=30)
            half = blobs / f"{about.etag}.limner.part"
            own = httpx.URL(about.location).host == httpx.URL(_endpoint()).host
            headers = hub.utils.build_hf_headers() if own else {}
            yield from _range(about.location, half, part.size, headers)
            break
        except (httpx.HTTPError, OSError) as error:
            if attempt + 1 == ATTEMPTS or getattr(error, "errno", None) == errno.ENOSPC:
                raise _explained(error, one.name) from None
            time.sleep(PAUSE_S * 2**attempt)
        except Exception as error:
            raise _explained(error, one.name) from None
    _check(half, part)
    half.replace(blobs / str(about.etag))


def _range(url: str, half: Path, size: int, headers: dict[str, str]) -> Generator[int, None, None]:
    """Append what is missing of a file; yields the bytes there. Raises httpx.HTTPError, OSError."""
    import httpx

    there = half.stat().st_size if half.is_file() else 0
    if there > size:
        half.unlink()
        there = 0
    yield there
    if there == size:
        return
    asked = {**headers, "Range": f"bytes={there}-"} if there else headers
    with httpx.stream("GET", url, headers=asked, timeout=60, follow_redirects=True) as answer:
        answer.raise_for_status()
        whole = there and answer.status_code != 206  # a server that knows no ranges
        shown = time.monotonic()
        with half.open("wb" if whole else "ab") as out:
            for block in answer.iter_raw(1 << 20):
                out.write(block)
                if time.monotonic() - shown > LOOK_EVERY_S:
                    shown = time.monotonic()
                    yield out.tell()
            out.flush()
            os.fsync(out.fileno())
    yield half.stat().st_size


def _check(path: Path, part: Part) -> None:
    """Raise WorkFailedError, and remove the file, when it is not what the hub says."""
    real = path.resolve()
    if real.stat().st_size == part.size and part.sha256 in (None, sha256_file(real)):
        return
    real.unlink()
    path.unlink(missing_ok=True)
    raise WorkFailedError(
        f"{part.name} came with other bytes than the hub says, and was removed",
        where=str(real),
        fix="Run the same command again; if it stays, a proxy may be changing files.",
    )


def _cache() -> Path:
    """Where the hub's client keeps its files: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/..."""
    named = os.environ.get("HF_HUB_CACHE")
    home = os.environ.get("HF_HOME", "~/.cache/huggingface")
    return Path(named or Path(home) / "hub").expanduser()


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _existing(path: Path) -> Path:
    return next(p for p in (path.absolute(), *path.absolute().parents) if p.exists())


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise MissingExtraError(
            "Fetching models needs huggingface_hub, which is not installed",
            fix="pip install 'limner[train]'",
        ) from None
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    return huggingface_hub


def _explained(error: Exception, name: str) -> LimnerError:
    """A hub client's error as one that says what to do."""
    from huggingface_hub import errors

    place = _endpoint()
    if isinstance(error, errors.GatedRepoError):
        return InputError(
            f"{name} is given to people who accepted its terms",
            where=place,
            fix="Accept them on the model's page and set HF_TOKEN.",
        )
    if isinstance(error, errors.RepositoryNotFoundError | errors.HFValidationError):
        return InputError(
            f"The hub has no model {name}, or it is not yours to see",
            where=place,
            fix="Check the name; for a private one set HF_TOKEN.",
        )
    if isinstance(error, errors.OfflineModeIsEnabled):
        return UsageError(
            "HF_HUB_OFFLINE is set: the hub is not asked", where="HF_HUB_OFFLINE", fix="Unset it."
        )
    if isinstance(error, errors.HfHubHTTPError):
        code = getattr(getattr(error, "response", None), "status_code", None)
        said = f"answered {code}" if code else "gave an error"
        return WorkFailedError(
            f"The hub {said} for {name}", where=place, fix="Run the same command again later."
        )
    if isinstance(error, OSError) and getattr(error, "errno", None) == errno.ENOSPC:
        return WorkFailedError("The disk is full", where=str(_cache()), fix="Free some space.")
    return WorkFailedError(
        f"The hub cannot be reached for {name} ({type(error).__name__})",
        where=place,
        fix="Check the network and HF_ENDPOINT; what has come stays, run the same command again.",
    )
