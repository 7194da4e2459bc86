"""The inbox: pictures made elsewhere become takes, after a look at which belongs to which shot.

In: a project and a folder or zip. Out: with `dry_run` the match, else takes in the store and plain
copies in `takes/`; the files dropped in are never changed. A picture taken once is known again by
its SHA-256, so a killed or repeated run takes nothing twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner import lexicon
from limner.errors import InputError, NotReadyError, UsageError
from limner.events import Events, Notice, Result, Ticker
from limner.project import Project
from limner.project.files import sha256_bytes, write_bytes
from limner.project.records import Shot, Take
from limner.sources.atelier import DRAWING
from limner.sources.intake.looks import Looks, look
from limner.sources.intake.matching import WAYS, Candidate, Matching, match
from limner.sources.intake.opening import Dropped, LeftOut, opened
from limner.sources.normal import Plain, plain

NAME = "inbox"
"""The source that takes of the inbox name."""


@dataclass(frozen=True)
class _Seen:
    """A dropped picture that can be opened. sha256: of the file as dropped."""

    dropped: Dropped
    sha256: str
    width: int
    height: int
    changes: tuple[str, ...]
    texts: tuple[str, ...]


@lexicon.confined
def inbox(
    project: Project,
    path: Path,
    *,
    ways: Sequence[str] = WAYS,
    dry_run: bool = False,
    looks: dict[str, Looks] | None = None,
) -> Events:
    """Match the pictures of a folder or zip to the project's shots, and take them unless `dry_run`.

    ways: of `WAYS`, in order. looks: by SHA-256, what was measured before; it is filled, so that a
    look at the match and the taking after it measure once. Raises NotReadyError without a plan,
    UsageError for an unknown way or a folder that holds the project, InputError for a damaged zip.
    Result: {pairs [{file, shot, by, why, notes, width, height}], unsure [{file, guesses [shot],
    why}] (never taken), leftovers [{file, reason}], gaps [shot], small (pairs under
    source.short_side), taken, takes, dry_run}.
    """
    unknown = [way for way in ways if way not in WAYS]
    if unknown or not ways:
        raise UsageError(
            f"There is no way to match called {', '.join(unknown) or 'nothing'}",
            where="--by",
            fix=f"Use some of {', '.join(WAYS)}.",
        )
    refuse_own_folder(project, path)
    lexicon.learn(project.root / lexicon.OWN_FOLDER)
    shots = project.store.shots()
    if not shots:
        raise NotReadyError(
            "There is no plan yet", where="shots/prompts.txt", fix="Run `limner shots plan`."
        )
    with project.exclusive("sources"), opened(path) as (dropped, out):
        seen: list[_Seen] = []
        yield from _look(project, dropped, shots, seen, out)
        found = yield from _match(project, shots, seen, ways, {} if looks is None else looks)
        takes: list[int] = []
        if not dry_run:
            yield from _take(project, found, {s.dropped.name: s for s in seen}, takes)
            project.store.log("sources", "inbox", taken=len(takes), left=len(found.left))
    yield Result({**_said(project, found, seen, out), "taken": len(takes), "takes": takes,
                  "dry_run": dry_run})  # fmt: skip


def refuse_own_folder(project: Project, path: Path) -> None:
    """Raises UsageError for a folder that is or holds the project: its own takes would come in."""
    own, given = project.root.resolve(), path.resolve()
    if own == given or own.is_relative_to(given):
        raise UsageError(
            "This folder holds the project itself, whose own pictures would be taken in",
            where=str(given),
            fix="Put the new pictures into a folder of their own and name that.",
        )


def _look(
    project: Project,
    dropped: list[Dropped],
    shots: list[Shot],
    seen: list[_Seen],
    out: list[LeftOut],
) -> Events:
    """Open every picture once; what cannot be used goes to `out` with its reason.

    Of equal files the first stays, or the first whose name tells its shot.
    """
    before = {t.request.get("original_sha256"): t for t in _own(project) if t.state == "done"}
    names: dict[str, str] = {}
    ticker = Ticker("looking", len(dropped))
    telling = {
        p.name for p in match([Candidate(d.name) for d in dropped], shots, ways=["name"]).pairs
    }
    for one in sorted(dropped, key=lambda one: one.name not in telling):
        try:
            data = one.read()
            digest = sha256_bytes(data)
            if digest in before:
                reason = f"taken already, for {before[digest].shot_id}"
                out.append(LeftOut(one.name, reason))
            elif digest in names:
                out.append(LeftOut(one.name, f"the same file as {names[digest]}"))
            else:
                made = plain(data)
                names[digest] = one.name
                sizes = (made.width, made.height)
                seen.append(_Seen(one, digest, *sizes, made.changes, made.texts))
        except InputError as error:
            more = f"; {error.fix}" if error.fix else ""
            out.append(LeftOut(one.name, f"{error.what}{more}"))
        yield ticker.tick(note=one.name)


def _own(project: Project) -> list[Take]:
    return [t for t in project.store.takes() if t.source == NAME]


def _match(
    project: Project,
    shots: list[Shot],
    seen: list[_Seen],
    ways: Sequence[str],
    known: dict[str, Looks],
) -> Any:
    """The match; pictures are measured only where prompts and names left something over."""
    standing = project.store.standing_decisions()
    covered = {
        t.shot_id
        for t in project.store.takes(state="done")
        if t.id not in standing or standing[t.id].verdict != "reject"
    }
    wanting = {s.id for s in shots if s.state != "kept"} - covered
    candidates = [Candidate(s.dropped.name, s.texts) for s in seen]
    first = [way for way in ways if way in ("prompt", "name")]
    if "measured" in ways and wanting:
        early = match(candidates, shots, ways=first, wanting=wanting)
        if early.left:
            looks = yield from _looks([s for s in seen if s.dropped.name in early.left], known)
            candidates = [replace(c, looks=looks.get(c.name)) for c in candidates]
    own = project.character.source.inbox
    return match(candidates, shots, ways=ways, wanting=wanting, own=own)


def _looks(seen: list[_Seen], known: dict[str, Looks]) -> Any:
    """Name -> what the picture shows; {} where nothing can be measured."""
    import io
    from importlib.util import find_spec

    import numpy as np
    from PIL import Image

    from limner.vision import faces

    if find_spec("scipy") is None:
        yield Notice("what pictures show is not measured: install limner[vision]", "warning")
        return {}
    if (reason := faces.available("photo")) is not None:
        yield Notice(f"heads are not measured, colours only: {reason}", "warning")
    found = {}
    ticker = Ticker("measuring", len(seen))
    for one in seen:
        if one.sha256 not in known:
            made = plain(one.dropped.read())
            image = np.array(Image.open(io.BytesIO(made.data)).convert("RGB"))
            known[one.sha256] = look(image, "drawing" if _is_drawn(one) else "photo")
        found[one.dropped.name] = known[one.sha256]
        yield ticker.tick(note=one.dropped.name)
    return found


def _is_drawn(one: _Seen) -> bool:
    """Whether its own text says that the atelier drew it."""
    return any(DRAWING in text for text in one.texts)


def _take(project: Project, found: Matching, seen: dict[str, _Seen], takes: list[int]) -> Events:
    """Journal, copy, mark done; a pending take of a killed run is used again."""
    pending = {t.request.get("original_sha256"): t for t in _own(project) if t.state == "pending"}
    store = project.store
    asked = {s.id: {"prompt": s.prompt, "attributes": s.attributes} for s in store.shots()}
    ticker = Ticker("taking", len(found.pairs))
    for pair in found.pairs:
        one = seen[pair.name]
        made = plain(one.dropped.read())
        take = pending.get(one.sha256)
        if take is None or take.shot_id != pair.shot_id:
            request = {
                **asked[pair.shot_id],
                **{"file": pair.name, "original_sha256": one.sha256, "by": pair.by},
            }
            take = store.journal_take(pair.shot_id, NAME, 0, request)
        stem = f"{take.shot_id}_{NAME}_a{take.attempt}"
        file = project.folder("takes") / f"{stem}{made.suffix}"
        write_bytes(file, made.data)
        store.update_take(
            take.id,
            state="done",
            path=project.relative(file),
            sha256=sha256_bytes(made.data),
            width=made.width,
            height=made.height,
            labels=_labels(pair.name, one, pair.by, made),
        )
        takes.append(take.id)
        yield ticker.tick(note=pair.name)
    for digest, take in pending.items():  # matched otherwise this time: the old row is closed
        if digest in {s.sha256 for s in seen.values()} and take.id not in takes:
            store.update_take(take.id, state="failed", error="matched to another shot")


def _labels(name: str, one: _Seen, by: str, made: Plain) -> dict[str, Any]:
    return {
        "file": name,
        "original_sha256": one.sha256,
        "matched_by": by,
        "changes": list(made.changes),
        "texts": [text[:2000] for text in made.texts],
        "seed": None,
        **({"drawing": True} if _is_drawn(one) else {}),
    }


def _said(
    project: Project, found: Matching, seen: list[_Seen], out: list[LeftOut]
) -> dict[str, Any]:
    by_name = {s.dropped.name: s for s in seen}
    least = project.character.source.short_side
    pairs: list[dict[str, Any]] = []
    small = 0
    for pair in found.pairs:
        one = by_name[pair.name]
        notes = list(one.changes)
        if min(one.width, one.height) < least:
            small += 1
            notes.append(f"{min(one.width, one.height)} px on the short side, {least} wanted")
        about = {"file": pair.name, "shot": pair.shot_id, "by": pair.by, "why": pair.why}
        pairs.append({**about, "notes": notes, "width": one.width, "height": one.height})
    left = [{"file": name, "reason": why} for name, why in found.left.items()]
    left += [{"file": one.name, "reason": one.reason} for one in out]
    unsure = [
        {"file": one.name, "guesses": list(one.guesses), "why": one.why} for one in found.unsure
    ]
    lists = {"pairs": pairs, "unsure": unsure, "leftovers": left, "gaps": found.gaps}
    return {**lists, "small": small}
