"""The captions of a place, whatever wrote them: a project's, or any folder of pictures.

In: a `Project`, or a folder of pictures with `.txt`, `.caption` or JSON lines. Out: a `Sheet` of
`Item`s, one a caption, with the exact bytes each stands in; `write` puts bytes back whole.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from limner.captions.encoding import (
    MAX_BYTES,
    Decoded,
    Fault,
    clean_bytes,
    decode,
    encode,
    repaired,
)
from limner.captions.lines import CaptionLine, read_line
from limner.errors import InputError
from limner.project import Project
from limner.project.files import explain_os_error, write_bytes
from limner.project.records import Take
from limner.project.texts import text_file

PICTURES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".avif", ".gif"))
TEXTS = (".txt", ".caption")
JOURNAL = ".limner-captions.jsonl"
NO_CAPTIONS = frozenset(
    (
        *("readme", "license", "licence", "notice", "prompt_mapping", "prompts", "sample_prompts"),
        *("requirements", "classes", "trigger", "changelog", "urls", "urllist", "notes"),
    )
)
"""Text files that stand beside pictures and are no captions."""
MAX_JSONL_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Item:
    """One caption. `key` names it for good; `raw` is its bytes (a file, or one line of a JSON-lines
    file), None where a picture has none; `text` None when there is none or the bytes are no text.
    """

    key: str
    file: str
    picture: str | None
    raw: bytes | None
    decoded: Decoded | None = None
    line: CaptionLine | None = None

    @property
    def text(self) -> str | None:
        """The caption as it stands, ends stripped."""
        return None if self.decoded is None else self.decoded.text

    @property
    def said(self) -> str:
        """The caption on one line; empty when there is none."""
        return " ".join((self.text or "").split())

    def with_text(self, text: str, *, clean: bool = False) -> bytes:
        """The item's bytes with another text, stored as found; `clean`: as UTF-8 without faults."""
        if self.line is not None:
            return self.line.with_text(text, clean=clean)
        if self.decoded is None or self.decoded.text is None or self.raw is None:
            return text.encode("utf-8", "replace")
        if clean:
            return clean_bytes(decode(encode(self.decoded, text))) or b""
        return encode(self.decoded, text)

    def mended(self) -> str | None:
        """The text without encoding faults, None when the bytes are no text."""
        return None if self.decoded is None else repaired(self.decoded)


@dataclass(frozen=True)
class Problem:
    """A file that holds no caption Limner can read, and why."""

    file: str
    rule: str
    says: str


@dataclass(frozen=True)
class Sheet:
    """Every caption of a place. `takes`: item key -> take, in a project only."""

    root: Path
    items: tuple[Item, ...]
    problems: tuple[Problem, ...] = ()
    project: Project | None = None
    takes: Mapping[str, Take] = field(default_factory=dict)

    @cached_property
    def _by_key(self) -> dict[str, Item]:
        return {i.key: i for i in self.items}

    def item(self, key: str) -> Item | None:
        """The item of this key."""
        return self._by_key.get(key)

    @property
    def said(self) -> dict[str, str]:
        """Key -> caption on one line, of every item that has a readable, not empty one."""
        return {i.key: i.said for i in self.items if i.said}


def open_sheet(place: Project | Path) -> Sheet:
    """Read the captions of a project (kept takes) or of any folder; changes nothing.

    Raises InputError when there is no such folder, NotReadyError when a project kept no take.
    """
    if isinstance(place, Project):
        return read_project(place)
    if (place / "character.yaml").is_file() and (place / "limner.db").is_file():
        return read_project(Project.open(place))
    return read_folder(place)


def read_project(project: Project) -> Sheet:
    """The captions beside the kept takes; a caption whose file is gone reads as recorded."""
    from limner.captions.stage import kept_takes

    recorded = project.store.captions()
    items, problems, takes = [], [], {}
    for take in kept_takes(project):
        path = text_file(project, take)
        key = project.relative(path)
        caption = recorded.get(take.id)
        raw = None if caption is None else caption.text.encode("utf-8")
        try:
            raw = _read(path) if path.is_file() else raw
        except InputError as error:
            problems.append(Problem(key, "unreadable", error.what))
        items.append(Item(key, key, take.path, raw, None if raw is None else decode(raw)))
        takes[key] = take
    return Sheet(project.root, tuple(items), tuple(problems), project, takes)


def read_folder(root: Path) -> Sheet:
    """Any folder with its subfolders; hidden ones and links to folders are left out.

    Raises InputError when it is no folder or cannot be listed.
    """
    if not root.is_dir():
        what = "This is a file, not a folder" if root.exists() else "There is no such folder"
        raise InputError(what, where=str(root), fix="Name a folder.")
    pictures, texts, tables = _listed(root)
    items: list[Item] = []
    problems: list[Problem] = []
    told: set[str] = set()
    for table in tables:
        found, wrong = _table(root, table)
        items += found
        problems += wrong
        told |= {i.picture for i in found if i.picture}
    by_stem: dict[str, list[str]] = {}
    for name in pictures:
        by_stem.setdefault(_stem(name), []).append(name)
    for name in texts:
        owners = by_stem.get(_stem(name), [])
        if not owners and (name.lower().endswith(".txt") and _is_note(name)):
            continue
        try:
            raw = _read(root / name)
        except InputError as error:
            problems.append(Problem(name, "unreadable", error.what))
            told |= set(owners)
            continue
        items.append(Item(name, name, owners[0] if owners else None, raw, decode(raw)))
        told |= set(owners)
        if len(owners) > 1:
            says = f"{len(owners)} pictures share it: {', '.join(Path(o).name for o in owners)}"
            problems.append(Problem(name, "shared", says))
    ending = Counter(Path(t).suffix.lower() for t in texts).most_common(1)
    ext = ending[0][0] if ending else ".txt"
    for name in pictures:
        if name not in told:
            key = _stem(name) + ext
            items.append(Item(key, key, name, None))
    problems += _doubled(texts)
    problems += _told_twice(items)
    items.sort(key=lambda i: (i.picture or i.key, i.key))
    return Sheet(root, tuple(items), tuple(problems))


def _listed(root: Path) -> tuple[list[str], list[str], list[str]]:
    """Pictures, caption files and JSON-lines files below `root`, sorted, as relative names."""
    pictures, texts, tables = [], [], []

    def refuse(error: OSError) -> None:
        if Path(str(error.filename)) == root:
            raise explain_os_error(error, root) from None

    for folder, inner, names in os.walk(root, onerror=refuse):
        inner[:] = sorted(n for n in inner if not n.startswith(".") and n != "__pycache__")
        for name in sorted(names):
            path = Path(folder) / name
            if name.startswith(".") or not _is_file(path):
                continue
            ending, relative = path.suffix.lower(), path.relative_to(root).as_posix()
            if ending in PICTURES:
                pictures.append(relative)
            elif ending in TEXTS:
                texts.append(relative)
            elif ending == ".jsonl":
                tables.append(relative)
    return pictures, texts, tables


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _stem(name: str) -> str:
    return name[: -len(Path(name).suffix)] if Path(name).suffix else name


def _is_note(name: str) -> bool:
    return Path(name).stem.lower() in NO_CAPTIONS


def _doubled(texts: list[str]) -> list[Problem]:
    """Two caption files for one picture: which one a trainer reads depends on the trainer."""
    have = {t.lower() for t in texts}
    return [
        Problem(
            t, "two_captions", f"{_stem(t)}.caption stands beside it; trainers read one of them"
        )
        for t in texts
        if t.lower().endswith(".txt") and f"{_stem(t).lower()}.caption" in have
    ]


def _told_twice(items: list[Item]) -> list[Problem]:
    """Pictures with a file and a line of a table that say different things."""
    lines = {i.picture: i for i in items if i.line is not None}
    return [
        Problem(
            i.key, "two_captions", f"{lines[i.picture].file} says something else of its picture"
        )
        for i in items
        if i.line is None and i.picture in lines and i.said != lines[i.picture].said
    ]


def _read(path: Path) -> bytes:
    """A caption file's bytes; of a huge one only the start. Raises InputError."""
    try:
        with path.open("rb") as source:
            return source.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"it cannot be read ({error.strerror})", where=str(path)) from None


# ---- JSON lines


def _table(root: Path, name: str) -> tuple[list[Item], list[Problem]]:
    """The captions of one JSON-lines file, one a line; none when it is no table of captions."""
    try:
        if (root / name).stat().st_size > MAX_JSONL_BYTES:
            return [], [Problem(name, "unreadable", "more than 64 MB of JSON lines")]
        raw = (root / name).read_bytes()
    except OSError as error:
        return [], [Problem(name, "unreadable", f"it cannot be read ({error.strerror})")]
    items, problems, seen = [], [], Counter[str]()
    for number, piece in enumerate(raw.splitlines(keepends=True), 1):
        if not piece.strip():
            continue
        line = read_line(piece)
        if isinstance(line, str):
            problems.append(Problem(name, "jsonl", f"line {number}: {line}"))
            continue
        seen[line.picture] += 1
        again = f"#{seen[line.picture]}" if seen[line.picture] > 1 else ""
        picture = _beside(root, name, line.picture)
        items.append(
            Item(f"{name}#{line.picture}{again}", name, picture, piece, line.decoded, line)
        )
    if not items and Path(name).name != "metadata.jsonl":
        return [], []  # some other tool's JSON lines
    return items, problems


def _beside(root: Path, table: str, picture: str) -> str | None:
    """The picture a line names, relative to `root`; None when there is none inside."""
    try:
        path = (root / table).parent / picture
        if _is_file(path) and path.resolve().is_relative_to(root.resolve()):
            return Path(os.path.relpath(path, root)).as_posix()
    except (OSError, ValueError):
        pass
    return None


# ---- writing


def write(root: Path, changes: Mapping[str, bytes | None]) -> Iterator[str]:
    """Write captions by key, each file whole; yields a file's name when it is written.

    None removes a caption file. Raises WorkFailedError (disk full, no permission), InputError when
    a line of a JSON-lines file is gone.
    """
    tables: dict[str, dict[str, bytes]] = {}
    for key, raw in changes.items():
        file, _, line = key.partition("#")
        if line and file.lower().endswith(".jsonl") and raw is not None:
            tables.setdefault(file, {})[key] = raw
            continue
        path = (root / key).resolve()
        if raw is None:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise explain_os_error(error, path) from None
        else:
            write_bytes(path, raw)
        yield key
    for file, lines in tables.items():
        write_bytes((root / file).resolve(), _with_lines(root, file, lines))
        yield file


def _with_lines(root: Path, file: str, lines: Mapping[str, bytes]) -> bytes:
    """A JSON-lines file with some lines replaced, all others byte for byte."""
    pieces, seen = [], Counter[str]()
    left = dict(lines)
    for piece in (root / file).read_bytes().splitlines(keepends=True):
        line = read_line(piece) if piece.strip() else ""
        if isinstance(line, CaptionLine):
            seen[line.picture] += 1
            again = f"#{seen[line.picture]}" if seen[line.picture] > 1 else ""
            piece = left.pop(f"{file}#{line.picture}{again}", piece)
        pieces.append(piece)
    if left:
        raise InputError(f"{next(iter(left))} is no longer there", where=str(root / file))
    return b"".join(pieces)


def raw_of(root: Path, keys: list[str]) -> dict[str, bytes | None]:
    """What stands on disk now under each key (None: nothing)."""
    found: dict[str, bytes | None] = {}
    tables: dict[str, dict[str, bytes | None]] = {}
    for key in keys:
        file, _, line = key.partition("#")
        if line and file.lower().endswith(".jsonl"):
            if file not in tables:
                tables[file] = {i.key: i.raw for i in _table(root, file)[0]}
            found[key] = tables[file].get(key)
        else:
            path = root / key
            found[key] = _read(path) if _is_file(path) else None
    return found


def faults(item: Item) -> tuple[Fault, ...]:
    """Every fault of the item's encoding."""
    return () if item.decoded is None else item.decoded.faults


def as_jsonable(raw: bytes | None) -> object:
    """Bytes for a journal: text where they are UTF-8, else base64; `from_jsonable` reads it."""
    import base64

    if raw is None:
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(raw).decode("ascii")}


def from_jsonable(data: object) -> bytes | None:
    """The bytes `as_jsonable` wrote. Raises ValueError for anything else."""
    import base64

    if data is None:
        return None
    if isinstance(data, str):
        return data.encode("utf-8")
    if isinstance(data, dict) and isinstance(data.get("base64"), str):
        return base64.b64decode(data["base64"], validate=True)
    raise ValueError(f"no bytes: {json.dumps(data)[:40]}")
