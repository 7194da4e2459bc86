"""Every change to captions is a numbered step: kept, shown, and taken back at any time.

In: a `Sheet` and new bytes by key. Out: whole files, and a journal: in a project its database, in
any other folder `.limner-captions.jsonl`. A step is written down before the first file is touched;
one that was cut short is finished by the next change. A hand edit becomes a step of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from limner.captions import merging
from limner.captions.encoding import decode
from limner.captions.folder import (
    JOURNAL,
    Sheet,
    as_jsonable,
    from_jsonable,
    open_sheet,
    raw_of,
    write,
)
from limner.captions.stage import read_back
from limner.errors import InputError, UsageError
from limner.project import Project
from limner.project.files import exclusive, write_bytes
from limner.project.records import Author
from limner.project.store import now

OUTSIDE = "changed outside Limner"


@dataclass(frozen=True)
class Change:
    """One caption of a step. `was_by`: who wrote `before` (rule, model, person; found: unknown)."""

    key: str
    before: bytes | None
    after: bytes | None
    was_by: str = "found"


@dataclass(frozen=True)
class Step:
    """One step of the journal. `kind`: step or waive. `undoes`: the step it took back."""

    number: int
    at: str
    kind: str
    author: str
    what: str
    changes: tuple[Change, ...] = ()
    undoes: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """For `--json`: the step without the texts."""
        return {
            "step": self.number,
            "at": self.at,
            "kind": self.kind,
            "author": self.author,
            "what": self.what,
            "captions": len(self.changes),
            "undoes": self.undoes,
        }


class Journal(Protocol):
    """Where steps are kept: the project's diary, or a file beside the captions."""

    def entries(self) -> list[tuple[int, str, dict[str, Any]]]:
        """(number, time, data) of every entry, oldest first."""
        ...

    def append(self, data: dict[str, Any]) -> int:
        """Add an entry for good and return its number."""
        ...


class ProjectJournal:
    """Steps in the project's diary."""

    def __init__(self, project: Project) -> None:
        self.project = project

    def entries(self) -> list[tuple[int, str, dict[str, Any]]]:
        """As `Journal.entries`; other diary lines of the stage are passed over."""
        lines = self.project.store.diary("captions", limit=1 << 31)
        return [(e.id, e.at, e.data["entry"]) for e in lines if e.kind == "journal"]

    def append(self, data: dict[str, Any]) -> int:
        """As `Journal.append`."""
        self.project.store.log("captions", "journal", entry=data)
        return self.entries()[-1][0]


class FolderJournal:
    """Steps in `.limner-captions.jsonl`; lines that cannot be read stay and are passed over."""

    def __init__(self, root: Path) -> None:
        self.path = root / JOURNAL

    def _bytes(self) -> bytes:
        try:
            return self.path.read_bytes() if self.path.is_file() else b""
        except OSError as error:
            raise InputError(
                f"the history cannot be read ({error.strerror})", where=str(self.path)
            ) from None

    def entries(self) -> list[tuple[int, str, dict[str, Any]]]:
        """As `Journal.entries`."""
        found = []
        for line in self._bytes().splitlines():
            try:
                data = json.loads(line)
                found.append((int(data.pop("number")), str(data.pop("at")), data))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                continue
        return found

    def append(self, data: dict[str, Any]) -> int:
        """As `Journal.append`; the file is written whole."""
        number = 1 + max((n for n, _, _ in self.entries()), default=0)
        have = self._bytes()
        gap = b"" if not have or have.endswith(b"\n") else b"\n"
        line = json.dumps({"number": number, "at": now(), **data}).encode("ascii")
        write_bytes(self.path, have + gap + line + b"\n")
        return number


def journal_of(sheet: Sheet) -> Journal:
    """The journal of a sheet's place."""
    return FolderJournal(sheet.root) if sheet.project is None else ProjectJournal(sheet.project)


def steps(sheet: Sheet) -> list[Step]:
    """Every step and waiver of the place, oldest first."""
    return [
        s for n, at, data in journal_of(sheet).entries() if (s := _step(n, at, data)) is not None
    ]


def _step(number: int, at: str, data: dict[str, Any]) -> Step | None:
    try:
        kind = data["kind"]
        if kind not in ("step", "waive"):
            return None
        changes = tuple(
            Change(c["key"], from_jsonable(c["before"]), from_jsonable(c["after"]), c["was_by"])
            for c in data.get("changes", ())
        )
        return Step(
            *(number, at, kind, str(data["author"]), str(data["what"]), changes),
            undoes=data.get("undoes"),
            data=data,
        )
    except (KeyError, TypeError, ValueError):
        return None


def standing(found: Sequence[Step]) -> set[int]:
    """Numbers of the steps that are not taken back (an undo that is taken back counts as none)."""
    undone: set[int] = set()
    for step in reversed(found):
        if step.undoes is not None and step.number not in undone:
            undone.add(step.undoes)
    return {s.number for s in found} - undone


# ---- changing


def apply(
    sheet: Sheet,
    changes: Mapping[str, bytes | None],
    what: str,
    *,
    author: Author = "person",
    undoes: int | None = None,
) -> Step | None:
    """Write new bytes for captions as one step; None when nothing differs.

    Raises UsageError when a caption changed since the sheet was read or another process works here,
    WorkFailedError when a file cannot be written (the step is finished by the next one).
    """
    before = {i.key: i.raw for i in sheet.items}
    new = {k: raw for k, raw in changes.items() if raw != before.get(k)}
    if not new:
        return None
    with _alone(sheet):
        fresh = _settled(sheet)
        stale = [k for k in new if _raw(fresh, k) != before.get(k)]
        if stale:
            raise UsageError(
                f"{stale[0]} changed since it was read",
                fix="Run the command again and look at the new preview.",
            )
        return _write(fresh, new, what, author, undoes)


def ready(sheet: Sheet) -> Sheet:
    """The place read anew for a change: what was cut short is finished, hand edits are steps.

    Raises UsageError when another process works here.
    """
    with _alone(sheet):
        return _settled(sheet)


def _raw(sheet: Sheet, key: str) -> bytes | None:
    item = sheet.item(key)
    return None if item is None else item.raw


@contextmanager
def _alone(sheet: Sheet) -> Iterator[None]:
    """No other process changes captions here; hand edits of a project are read back first."""
    if sheet.project is not None:
        with suppress(InputError):  # a file that is no UTF-8 must not stop the step that mends it
            read_back(sheet.project)
        with sheet.project.exclusive("captions"):
            yield
        return
    name = hashlib.sha256(os.fsencode(sheet.root.resolve())).hexdigest()[:20]
    folder = Path(tempfile.gettempdir()) / f"limner-{os.getuid()}"
    with exclusive(folder / f"captions-{name}.lock", "a change of these captions"):
        yield


def _settled(sheet: Sheet) -> Sheet:
    """The place as it stands now: a step cut short is finished, hand edits are steps."""
    fresh = open_sheet(sheet.project or sheet.root)
    if _finish(fresh):
        fresh = open_sheet(sheet.project or sheet.root)
    _note_outside(fresh)
    return fresh


def unfinished(sheet: Sheet) -> list[Step]:
    """Steps that were written down and not carried out to their end."""
    entries = journal_of(sheet).entries()
    done = {data.get("done") for _, _, data in entries}
    found = [s for n, at, d in entries if (s := _step(n, at, d)) is not None]
    return [s for s in found if s.changes and s.number not in done and not s.data.get("seen")]


def _finish(sheet: Sheet) -> bool:
    """Write what a killed step left unwritten; a caption changed since stays as it is."""
    cut = unfinished(sheet)
    for step in cut:
        now_there = raw_of(sheet.root, [c.key for c in step.changes])
        left = [c for c in step.changes if now_there[c.key] == c.before]
        _carry_out(sheet, step, {c.key: c.after for c in left})
    return bool(cut)


def _note_outside(sheet: Sheet) -> None:
    """Captions that are not as the last step left them become a step of whoever changed them."""
    found = steps(sheet)
    known = {c.key: c.after for s in found for c in s.changes}
    authors = _authors(found)
    changed: dict[str, list[Change]] = {}
    for item in sheet.items:
        author, before = "person", known.get(item.key)
        if sheet.project is not None:
            history = sheet.project.store.caption_history(sheet.takes[item.key].id)
            recorded = bool(history) and history[-1].text == item.said
            author = history[-1].author if recorded else "person"
            if item.key not in known and author == "person" and len(history) > 1:
                before = history[-2].text.encode("utf-8")
            elif item.key not in known:
                continue
        elif item.key not in known:
            continue
        if before != item.raw:
            was_by = authors.get(item.key, "found")
            changed.setdefault(author, []).append(Change(item.key, before, item.raw, was_by))
    for author, changes in changed.items():
        _log(sheet, author, OUTSIDE, changes, None, seen=True)


def _authors(found: Sequence[Step]) -> dict[str, str]:
    """Key -> who wrote what the last step left there."""
    return {c.key: s.author for s in found for c in s.changes}


def _write(
    sheet: Sheet,
    new: Mapping[str, bytes | None],
    what: str,
    author: str,
    undoes: int | None,
    by: Mapping[str, str] | None = None,
) -> Step:
    captions = {} if sheet.project is None else sheet.project.store.captions()
    authors = _authors(steps(sheet))

    def was_by(key: str) -> str:
        if sheet.project is None:
            return authors.get(key, "found")
        caption = captions.get(sheet.takes[key].id)
        return caption.author if caption else "found"

    changes = [Change(k, _raw(sheet, k), raw, was_by(k)) for k, raw in sorted(new.items())]
    step = _log(sheet, author, what, changes, undoes)
    _carry_out(sheet, step, dict(new), by)
    return step


def _log(
    sheet: Sheet,
    author: str,
    what: str,
    changes: Sequence[Change],
    undoes: int | None,
    *,
    seen: bool = False,
) -> Step:
    data: dict[str, Any] = {
        "kind": "step",
        "author": author,
        "what": what,
        "changes": [
            {
                "key": c.key,
                "before": as_jsonable(c.before),
                "after": as_jsonable(c.after),
                "was_by": c.was_by,
            }
            for c in changes
        ],
    }
    if undoes is not None:
        data["undoes"] = undoes
    if seen:
        data["seen"] = True  # nothing is to be written: the files are as it says
    number = journal_of(sheet).append(data)
    return Step(number, now(), "step", author, what, tuple(changes), undoes, data)


def _carry_out(
    sheet: Sheet,
    step: Step,
    new: Mapping[str, bytes | None],
    by: Mapping[str, str] | None = None,
) -> None:
    """Write the files, then the records, then that it is done."""
    for _ in write(sheet.root, new):
        pass
    if sheet.project is None:
        journal_of(sheet).append({"kind": "done", "done": step.number})
        return
    store = sheet.project.store
    with store.transaction():
        have = store.captions()
        for change in step.changes:
            text = "" if change.after is None else decode(change.after).text or ""
            take = sheet.takes.get(change.key)
            line = " ".join(text.split())
            if take is None or not line or (take.id in have and have[take.id].text == line):
                continue
            author = (by or {}).get(change.key, step.author)
            store.put_caption(take.id, line, author if author in _AUTHORS else "person")  # type: ignore[arg-type]
        journal_of(sheet).append({"kind": "done", "done": step.number})


_AUTHORS = ("rule", "model", "person")


def undo(sheet: Sheet, numbers: Sequence[int]) -> list[Step]:
    """Take back steps, newest first; each undo is a step, which can be taken back as well.

    A caption nobody touched since gets its old bytes; one changed since keeps the later change
    when the two do not touch the same words. Raises UsageError when they do, when there is no such
    step, or when nothing of it is left; then nothing is changed.
    """
    done = []
    with _alone(sheet):
        fresh = _settled(sheet)
        for number in sorted(set(numbers), reverse=True):
            found = steps(fresh)
            step = next((s for s in found if s.number == number), None)
            if step is None:
                raise UsageError(
                    f"there is no step {number}", fix=f"See `limner captions history{_in(sheet)}`."
                )
            if number not in standing(found):
                raise UsageError(f"step {number} is taken back already")
            what = f"undo of step {number}"
            if step.kind == "waive":
                data = {"kind": "step", "author": "person", "what": what, "undoes": number}
                written = journal_of(fresh).append(data)
                done.append(Step(written, now(), "step", "person", what, undoes=number))
                continue
            back = _taken_back(fresh, step, found)
            # a text that keeps a later change is the person's: rules must not write over it
            by = {c.key: c.was_by for c in step.changes if back.get(c.key) == c.before}
            done.append(_write(fresh, back, what, "person", number, by))
            fresh = open_sheet(fresh.project or fresh.root)
    return done


def _in(sheet: Sheet) -> str:
    """What a command says of where the captions are; nothing in a project."""
    return "" if sheet.project is not None else f" --in {shlex.quote(str(sheet.root))}"


def _taken_back(sheet: Sheet, step: Step, found: Sequence[Step]) -> dict[str, bytes | None]:
    """The bytes of each caption without this step. Raises UsageError for a conflict."""
    back: dict[str, bytes | None] = {}
    conflicts = []
    for change in step.changes:
        stands = _raw(sheet, change.key)
        if stands == change.after:
            back[change.key] = change.before
        elif stands != change.before:
            merged = merging.without(change.before, change.after, stands)
            if merged is None:
                conflicts.append(change.key)
            else:
                back[change.key] = merged
    if conflicts:
        later = {s.number for s in found for c in s.changes if c.key in conflicts}
        later = {n for n in later if n > step.number} & standing(found)
        both = " ".join(str(n) for n in sorted({*later, step.number}, reverse=True))
        raise UsageError(
            f"step {step.number} cannot be taken back alone: "
            f"{len(conflicts)} captions were changed at the same words since",
            where=conflicts[0],
            fix=f"Take the later steps back with it: `limner captions undo {both}{_in(sheet)}`."
            if later
            else f"Set it by hand: `limner captions edit{_in(sheet).replace(' --in', '')} "
            f"--file {shlex.quote(conflicts[0])} --text TEXT`.",
        )
    if not {k: v for k, v in back.items() if v != _raw(sheet, k)}:
        raise UsageError(f"nothing of step {step.number} is left to take back")
    return back


# ---- waivers and history


def waive(sheet: Sheet, entries: Sequence[Mapping[str, str]], reason: str) -> Step:
    """Record that findings are accepted: entries of {id, rule, file, subject}, with a reason.

    Raises UsageError without a reason.
    """
    if not reason.strip():
        raise UsageError("A waiver needs a reason", fix="Say why with --reason.")
    with _alone(sheet):
        what = f"waived {len(entries)} findings: {reason.strip()}"
        data = {
            "kind": "waive",
            "author": "person",
            "what": what,
            "reason": reason.strip(),
            "findings": [dict(e) for e in entries],
        }
        number = journal_of(sheet).append(data)
    return Step(number, now(), "waive", "person", what, data=data)


def waivers(sheet: Sheet) -> dict[str, str]:
    """Finding id -> reason, of the waivers that stand."""
    found = steps(sheet)
    active = standing(found)
    return {
        str(entry.get("id")): str(step.data.get("reason", ""))
        for step in found
        if step.kind == "waive" and step.number in active
        for entry in step.data.get("findings", ())
        if isinstance(entry, dict)
    }


def history(sheet: Sheet, key: str) -> list[dict[str, Any]]:
    """One caption's texts, oldest first: {at, author, text, step, what}.

    Raises InputError when there is no such caption.
    """
    item = sheet.item(key)
    wrote = [(s, c) for s in steps(sheet) for c in s.changes if c.key == key]
    if item is None and not wrote:
        raise InputError(f"there is no caption {key}", where=str(sheet.root))
    if sheet.project is not None and item is not None:
        return _recorded(sheet, key, wrote)
    rows: list[dict[str, Any]] = []
    first = wrote[0][1].before if wrote else (item.raw if item else None)
    if first is not None:
        rows.append(_row("", "found", first, None, "as it was found"))
    rows += [_row(s.at, s.author, c.after, s.number, s.what) for s, c in wrote]
    if item is not None and wrote and wrote[-1][1].after != item.raw:
        rows.append(_row("", "person", item.raw, None, f"{OUTSIDE}, not yet read back"))
    return rows


def _row(at: str, author: str, raw: bytes | None, step: int | None, what: str) -> dict[str, Any]:
    text = None if raw is None else decode(raw).text
    return {"at": at, "author": author, "text": text, "step": step, "what": what}


def _recorded(sheet: Sheet, key: str, wrote: list[tuple[Step, Change]]) -> list[dict[str, Any]]:
    """The project's own history, each text with the step that wrote it."""
    assert sheet.project is not None
    rows, left = [], list(wrote)
    for caption in sheet.project.store.caption_history(sheet.takes[key].id):
        row = {"at": caption.created_at, "author": caption.author, "text": caption.text}
        step = next((s for s, c in left if _line(c.after) == caption.text), None)
        if step is not None and step.at <= caption.created_at:
            left = [(s, c) for s, c in left if s.number > step.number]
            rows.append({**row, "step": step.number, "what": step.what})
        else:
            rows.append({**row, "step": None, "what": ""})
    return rows


def _line(raw: bytes | None) -> str:
    return "" if raw is None else " ".join((decode(raw).text or "").split())
