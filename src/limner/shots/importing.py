"""Prompts that exist, out of any file: list, CSV, JSON, JSONL, the guide's domains, a mapping.

In: bytes of a file. Out: `Imported`: entries in the order of the file, each with its line, and what
the file itself says about them (id, domain, attributes). What cannot be read is an InputError with
its line; nothing else is raised on any bytes.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from limner import lexicon
from limner.errors import InputError
from limner.lexicon.reading import MIXES
from limner.project.rules import Rule

LIMITS: dict[str, Rule] = {
    "file_bytes": Rule(8_000_000, "starting value", "400 prompts are 200 kB", "largest file"),
    "prompts": Rule(5_000, "starting value", "ours", "most prompts of a file"),
    "prompt_characters": Rule(6_000, "starting value", "ours", "longest prompt"),
}
"""What is more than this is no list of prompts."""

TEXT_KEYS = ("prompt", "text", "caption", "description", "positive", "positive_prompt", "content")
LIST_KEYS = ("prompts", "shots", "items", "data", "entries", "images")
_ID_KEYS = ("id", "name", "shot", "key", "file", "filename", "file_name", "image")
_BULLET = re.compile(r"^\s*(?:[-*•–]\s+|\(?\d{1,4}[.):]\s+|#\d{1,4}[.):]?\s+)")
_TREE = re.compile(r"^[\s│|├└─┬┼╰╭>]*[├└╰│][\s│├└─╰]*")
_MARKUP = re.compile(r"\*{1,3}|`+|^\s*#+\s*")
_DOMAIN = re.compile(r"^\W*DOMAIN\s*(\d{1,2})\b\s*[:.\-–—]?\s*(.*)$", re.IGNORECASE)
_PROMPT = re.compile(
    r"^\W*(?:prompt|shot|image|img)\s*#?\s*(\d{1,4})\s*(?:\(([^)]*)\))?\s*\W{0,3}[:.\-–—]\W{0,3}(.*)$",
    re.IGNORECASE | re.DOTALL,
)
_MAPPING = re.compile(
    r"^\s*(\S+\.(?:jpe?g|png|webp))\s*=\s*(?:DOMAIN\s*(\d+)\s*,\s*)?(?:Prompt\s*\d+\s*:\s*)?(.+)$",
    re.IGNORECASE,
)
_TITLES = (
    ("back", r"back|shoulder|rear|behind"),
    ("side", r"side|profile"),
    ("three_quarter", r"3\s*/\s*4|three[\s-]*quarter"),
    ("front", r"front"),
)


@dataclass(frozen=True)
class Entry:
    """One prompt of a file. `line`: where it begins; attributes: axis -> id, as the file says.

    angle: what a heading of the file says, an id of the lexicon.
    """

    text: str
    line: int
    id: str = ""
    domain: int | None = None
    angle: str | None = None
    attributes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Imported:
    """A file's prompts and its kind: list | csv | json | jsonl | domains | mapping.

    quotas: axis -> value -> number that the file itself says it was planned for (a plan's JSON).
    """

    entries: list[Entry]
    kind: str
    quotas: dict[str, dict[str, int]] = field(default_factory=dict)


def read_file(path: Path) -> Imported:
    """Read prompts from a file. Raises InputError: not there, too large, no text, broken at line n.

    The kind is told by the content; the name only helps where the content could be either.
    """
    most = int(LIMITS["file_bytes"].value)
    try:
        if path.is_dir():
            raise InputError(
                "This is a folder, not a file of prompts", where=str(path), fix="Give one file."
            )
        with path.open("rb") as source:
            data = source.read(most + 1)
    except FileNotFoundError:
        raise InputError("There is no such file", where=str(path), fix="Check the path.") from None
    except OSError as error:
        raise InputError(
            f"The file cannot be read ({error.strerror or type(error).__name__})", where=str(path)
        ) from None
    return parse(data, str(path))


def parse(data: bytes, name: str = "") -> Imported:
    """Read prompts from a file's bytes; `name` for messages and its ending. Raises InputError."""
    if len(data) > LIMITS["file_bytes"].value:
        raise InputError(
            f"The file is larger than {LIMITS['file_bytes'].value / 1e6:g} MB",
            where=name or None,
            fix="Split it; a list of 400 prompts has about 0.2 MB.",
        )
    text = decode(data, name)
    found = _Parser(text, name).parse()
    if not found.entries:
        raise InputError(
            "No prompt was found in the file",
            where=name or None,
            fix="Write one prompt a line, or a CSV with a column `prompt`, or a JSON list.",
        )
    return found


def decode(data: bytes, name: str) -> str:
    """Bytes as text: UTF-8, or UTF-16 with its mark. Raises InputError with the line."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            return data.decode("utf-16").replace("\r\n", "\n").replace("\r", "\n")
        except UnicodeDecodeError:
            raise InputError("The file is broken UTF-16", where=name or None) from None
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(
            f"The file is not UTF-8 text (byte 0x{data[error.start]:02x})",
            where=f"{name}, line {line}".lstrip(", "),
            fix="Save it as UTF-8; from Windows-1252: iconv -f WINDOWS-1252 -t UTF-8 FILE.",
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise InputError(
            "The file holds binary data, no text",
            where=f"{name}, line {line}".lstrip(", "),
            fix="Give a text, CSV, JSON or JSONL file.",
        )
    return text.replace("\r\n", "\n").replace("\r", "\n")


class _Parser:
    def __init__(self, text: str, name: str) -> None:
        self.text = text
        self.name = name
        self.lines = text.split("\n")
        self.quotas: dict[str, dict[str, int]] = {}
        self.ending = Path(name).suffix.lower() if name and "\0" not in name else ""

    def parse(self) -> Imported:
        kind = self._kind()
        found = {
            "json": self._json,
            "jsonl": self._jsonl,
            "csv": self._csv,
            "domains": self._domains,
            "mapping": self._mapping,
            "list": self._list,
        }[kind]()
        entries = []
        for entry in found:
            entries.append(self._checked(entry))
            if len(entries) > LIMITS["prompts"].value:
                raise self._wrong(f"more than {LIMITS['prompts'].value:g} prompts", entry.line)
        return Imported(entries, kind, self.quotas)

    def _kind(self) -> str:
        start = self.text.lstrip()
        if self.ending in (".jsonl", ".ndjson"):
            return "jsonl"
        if self.ending == ".json":
            return "json"
        full = [line for line in self.lines if line.strip()]
        if self.ending in (".csv", ".tsv"):
            return "list" if full and self._no_table(full[0]) else "csv"
        if start[:1] in ("{", "["):
            many = len(full) > 1 and all(_is_json_value(line) for line in full[:3])
            return "jsonl" if many else "json"
        if any(_DOMAIN.match(_bare(line)) for line in full):
            mapped = sum(bool(_MAPPING.match(line)) for line in full)
            return "mapping" if mapped * 2 > len(full) else "domains"
        if full and all(_MAPPING.match(line) for line in full):
            return "mapping"
        if any(_PROMPT.match(_bare(line)) for line in full):
            return "domains"
        head = [c.strip().lower() for c in _split_row(full[0])] if full else []
        if len(head) > 1 and set(head) & set(TEXT_KEYS):
            return "csv"
        return "list"

    def _no_table(self, first: str) -> bool:
        """Whether a .csv is a list of prompts: no head, no quotes, and commas as in sentences."""
        head = {c.lower() for c in _split_row(first)}
        spaced = self.text.count(", ") * 2 > self.text.count(",")
        return spaced and '"' not in self.text and not head & set(TEXT_KEYS)

    def _wrong(self, what: str, line: int, fix: str | None = None) -> InputError:
        where = f"{self.name}, line {line}" if self.name else f"line {line}"
        return InputError(f"The file has {what}", where=where, fix=fix)

    def _checked(self, entry: Entry) -> Entry:
        if len(entry.text) > LIMITS["prompt_characters"].value:
            most = LIMITS["prompt_characters"].value
            raise self._wrong(f"a prompt of more than {most:g} characters", entry.line)
        return entry

    def _json(self) -> Iterator[Entry]:
        try:
            data = json.loads(self.text)
        except json.JSONDecodeError as error:
            raise self._wrong(f"broken JSON: {error.msg}", error.lineno) from None
        except RecursionError:
            raise self._wrong("JSON that is nested too deep", 1) from None
        except ValueError:  # a number of more digits than Python reads
            raise self._wrong("JSON with a number that is too long", 1) from None
        self.quotas = _quotas_of(data)
        yield from self._values(data, None)

    def _jsonl(self) -> Iterator[Entry]:
        for number, line in enumerate(self.lines, 1):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except json.JSONDecodeError as error:
                raise self._wrong(f"broken JSON: {error.msg}", number) from None
            except (RecursionError, ValueError):
                raise self._wrong("JSON that cannot be read", number) from None
            yield from self._values(value, number)

    def _values(self, value: Any, line: int | None, heading: str = "") -> Iterator[Entry]:
        """Prompts inside a JSON value: strings, objects with a text, lists and groups of them."""
        stack: list[tuple[Any, str]] = [(value, heading)]
        place = 0
        while stack:
            item, title = stack.pop()
            if isinstance(item, str):
                text = _tidy(item)
                if text:
                    at = line or self._line_of(item, place)
                    place = at
                    yield _entry(text, at, title)
            elif isinstance(item, list):
                stack += [(one, title) for one in reversed(item)]
            elif isinstance(item, Mapping):
                fields = {str(k).strip().lower(): v for k, v in item.items()}
                listed = [k for k in LIST_KEYS if _holds_entries(fields.get(k))]
                keys = TEXT_KEYS if not listed else ()  # a set may have a description of its own
                key = next((k for k in keys if isinstance(fields.get(k), str)), None)
                if key is not None:
                    at = line or self._line_of(fields[key], place)
                    place = at
                    text = _tidy(fields[key])
                    if text:
                        yield _entry(text, at, title, fields)
                    continue
                groups = [(fields[k], title) for k in listed] or [
                    (v, str(k)) for k, v in item.items() if isinstance(v, list | dict)
                ]
                stack += reversed(groups)

    def _line_of(self, text: str, after: int) -> int:
        """The line of a JSON string: searched from the line of the one before."""
        sought = json.dumps(text, ensure_ascii=False)[1:40].rstrip('"')
        for number in range(max(after, 1), min(len(self.lines), after + 200) + 1):
            if sought in self.lines[number - 1]:
                return number
        return max(after, 1)

    def _csv(self) -> Iterator[Entry]:
        first = next((line for line in self.lines if line.strip()), "")
        mark = max(("\t", ";", ",", "|"), key=lambda m: first.count(m))
        reader = csv.reader(io.StringIO(self.text), delimiter=mark if mark in first else ",")
        header: list[str] | None = None
        try:
            for row in reader:
                if not any(cell.strip() for cell in row):
                    continue
                if header is None:
                    header = [cell.strip().lower() for cell in row]
                    if set(header) & set(TEXT_KEYS):
                        continue
                    header = [""] * (len(row) - 1) + ["prompt"]  # no head: the longest is the text
                    longest = max(range(len(row)), key=lambda i: len(row[i]))
                    header[-1], header[longest] = "", "prompt"
                key = next(k for k in TEXT_KEYS if k in header)
                row = self._fitted(row, header, key, reader.line_num)
                fields = dict(zip(header, row, strict=False))
                text = _tidy(fields.get(key) or "")
                if text:
                    yield _entry(text, max(reader.line_num, 1), "", fields)
        except csv.Error as error:
            raise self._wrong(f"a broken CSV row: {error}", max(reader.line_num, 1)) from None

    def _fitted(self, row: list[str], header: list[str], key: str, line: int) -> list[str]:
        """A row of as many cells as the head: a prompt in the last column may hold bare commas."""
        if len(row) <= len(header) or not any(cell.strip() for cell in row[len(header) :]):
            return row
        if header[-1] != key:
            fix = "Put quotes around the prompt: it holds the mark that parts the columns."
            raise self._wrong(f"a row of {len(row)} cells under {len(header)} columns", line, fix)
        last = len(header) - 1
        return [*row[:last], ", ".join(cell.strip() for cell in row[last:])]

    def _mapping(self) -> Iterator[Entry]:
        for number, line in enumerate(self.lines, 1):
            match = _MAPPING.match(line)
            if match and (text := _tidy(match.group(3))):
                domain = int(match.group(2)) if match.group(2) else None
                yield _entry(text, number, "", {"id": match.group(1)}, domain=domain)

    def _domains(self) -> Iterator[Entry]:
        """The guide's text: DOMAIN headings, `Prompt n:` with its text beside or below it."""
        domain: int | None = None
        title = ""
        open_at, name, parts = 0, "", list[str]()
        for number, raw in enumerate([*self.lines, "Prompt 0:"], 1):
            line = _bare(raw)
            heading, prompt = _DOMAIN.match(line), _PROMPT.match(line)
            if (heading or prompt) and open_at:
                text = _tidy(" ".join(parts))
                if text:
                    yield _entry(text, open_at, title, {"id": name}, domain=domain)
                open_at, parts = 0, []
            if heading:
                domain, title = int(heading.group(1)), heading.group(2)
            elif prompt:
                open_at, name = number, (prompt.group(2) or "").strip()
                parts = [prompt.group(3)]
            elif open_at and any(c.isalnum() for c in line) and not raw.startswith("```"):
                parts.append(line)
            elif open_at and not line.strip() and (text := _tidy(" ".join(parts))):
                yield _entry(text, open_at, title, {"id": name}, domain=domain)
                open_at, parts = 0, []

    def _list(self) -> Iterator[Entry]:
        """One prompt a line, or a paragraph where blank lines part them; bullets do not count."""
        full = [i for i, line in enumerate(self.lines) if line.strip()]
        bulleted = sum(bool(_BULLET.match(self.lines[i])) for i in full)
        joined = sum(1 for a, b in pairwise(full) if b == a + 1)
        blank = sum(1 for a, b in pairwise(full) if b > a + 1)
        wrapped = blank > 0 and joined > 0 and not bulleted
        block: list[str] = []
        begun = 1
        for number, line in enumerate([*self.lines, ""], 1):
            if line.lstrip().startswith(("//", "# ")):
                continue
            if wrapped:
                if line.strip():
                    begun = begun if block else number
                    block.append(line)
                    continue
                text, at, block = _tidy(" ".join(block)), begun, []
            else:
                text, at = _tidy(_BULLET.sub("", _TREE.sub("", line))), number
            if text and not text.startswith("```"):
                yield _entry(text, at, "")


def _bare(line: str) -> str:
    """A line without the branches of a drawn tree and without markdown marks."""
    line = _TREE.sub("", line)
    return _MARKUP.sub("", line) if line.lstrip().startswith(("#", "*", "_", "`")) else line


def _split_row(line: str) -> list[str]:
    mark = max(("\t", ";", ",", "|"), key=line.count)
    return [cell.strip(' "') for cell in line.split(mark)]


def _is_json_value(line: str) -> bool:
    try:
        return isinstance(json.loads(line), str | dict)
    except (ValueError, RecursionError):
        return False


def _tidy(text: str) -> str:
    """One line, without control characters, quotes around it and a comma after it."""
    text = "".join(" " if not c.isprintable() else c for c in text)
    text = re.sub(r"\s+", " ", text).strip().strip("`").strip()
    if len(text) > 1 and text[0] in "\"'“‘" and text.rstrip(",")[-1:] in "\"'”’":
        text = text.rstrip(",")[1:-1].strip()
    return text if any(c.isalnum() for c in text) else ""


def _entry(
    text: str,
    line: int,
    title: str,
    fields: Mapping[str, Any] | None = None,
    *,
    domain: int | None = None,
) -> Entry:
    """An entry with what the file says about it, as far as it is ours to use."""
    fields = fields or {}
    given = fields.get("attributes")
    known: dict[str, Any] = {**fields, **(given if isinstance(given, Mapping) else {})}
    attributes = {}
    for axis in lexicon.AXES:
        value = known.get(axis)
        if isinstance(value, str) and value.strip() in lexicon.axis(axis):
            attributes[axis] = value.strip()
    number = domain if domain is not None else _number(fields.get("domain"))
    heading = title or (fields["domain"] if isinstance(fields.get("domain"), str) else "")
    name = next((str(fields[k]).strip() for k in _ID_KEYS if _short(fields.get(k))), "")
    return Entry(text, line, name, number, _angle_of(heading, number), attributes)


def _holds_entries(value: Any) -> bool:
    """Whether a JSON value is a list of prompts; names of files beside a prompt are none."""
    return isinstance(value, list) and any(
        isinstance(one, Mapping) or (isinstance(one, str) and len(one.split()) > 1) for one in value
    )


def _short(value: Any) -> bool:
    return isinstance(value, str | int) and 0 < len(str(value).strip()) <= 80


def _number(value: Any) -> int | None:
    match = re.match(r"\W*(?:domain\s*)?(\d{1,2})\b", str(value), re.IGNORECASE)
    return int(match.group(1)) if value is not None and match else None


def _angle_of(heading: str, domain: int | None) -> str | None:
    """The angle a heading names; the guide's numbers only where the heading has no words."""
    for angle, pattern in _TITLES:
        if re.search(pattern, heading, re.IGNORECASE):
            return angle
    if re.search(r"[a-z]{4}", re.sub("domain", "", heading, flags=re.IGNORECASE), re.IGNORECASE):
        return None
    by_number = {a.domain: key for key, a in lexicon.angles().items() if a.face}
    return by_number.get(domain) if domain is not None else None


def _quotas_of(data: Any) -> dict[str, dict[str, int]]:
    """Numbers under `quotas`, or under `report.quotas` as a plan has them; what is odd is left."""
    if not isinstance(data, Mapping):
        return {}
    report = data.get("report")
    said = data.get("quotas") or (report.get("quotas") if isinstance(report, Mapping) else None)
    found: dict[str, dict[str, int]] = {}
    for axis, rows in said.items() if isinstance(said, Mapping) else ():
        if axis not in (*lexicon.AXES, "mix") or not isinstance(rows, Mapping):
            continue
        known = MIXES if axis == "mix" else lexicon.axis(axis)
        asked = {str(v): r.get("asked") if isinstance(r, Mapping) else r for v, r in rows.items()}
        if all(v in known and type(n) is int and n >= 0 for v, n in asked.items()):
            found[axis] = {v: int(n) for v, n in asked.items() if n is not None}
    return found
