"""Files of any trainer as plain data whose every key knows its line.

In: a path, or a text with its name. Out: `Doc`s; what cannot be read is a finding, never a
traceback. YAML keeps trainers' reading of it (duplicate keys: the last one counts).
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from limner.errors import first_line
from limner.training.lint.findings import Findings

Path_ = tuple[str | int, ...]
DEPTH, NODES = 30, 20_000
"""Deepest nesting and most values read: an alias bomb ends here (starting values)."""

BRACKETS = 100
"""Most brackets open at once (starting value)."""

TEXT_LIMIT = 2_000_000
"""Longest file read, in characters (starting value); training setups have a few hundred lines."""


@dataclass
class Doc:
    """A file's data. lines: path of keys -> line in the file, from 1."""

    name: str
    text: str
    form: str
    data: Any
    lines: dict[Path_, int] = field(default_factory=dict)
    offset: int = 0

    def line(self, *path: str | int) -> int | None:
        """Line of a key, or of the nearest key above it that stands in the file."""
        for end in range(len(path), 0, -1):
            if path[:end] in self.lines:
                return self.lines[path[:end]] + self.offset
        return 1 + self.offset if self.data else None

    def comment(self, *path: str | int) -> str:
        """The comment behind a key, without its sign; "" when there is none."""
        line = self.lines.get(path)
        rows = self.text.splitlines()
        if line is None or line > len(rows):
            return ""
        return rows[line - 1].partition("#")[2].strip()


def get(data: Any, *path: str | int) -> Any:
    """The value at a path, None where it stops."""
    for key in path:
        if isinstance(data, dict):
            data = data.get(str(key))
        elif isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
        else:
            return None
    return data


def whole(value: Any) -> int | None:
    """An integer that counts something, or None: no booleans, no infinities."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and (value != value or abs(value) > 1e15 or value != int(value)):
        return None
    return int(value) if abs(value) < 10**15 else None


def number(value: Any) -> float | None:
    """A finite number, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if abs(found) < 1e300 else None


def parse(text: str, name: str, form: str, found: Findings, offset: int = 0) -> Doc | None:
    """A text of form yaml | json | toml. None when it cannot be read: then a finding says where."""
    doc = Doc(name, text, form, None, {}, offset)
    try:
        deep = _too_deep(text)
        if deep is not None:
            raise _WrongError("Brackets or dashes are nested too deeply", deep)
        if form == "yaml":
            _yaml(doc, found)
        elif form == "json":
            _json(doc)
        else:
            doc.data = tomllib.loads(text)
            doc.lines = dict(_toml_lines(text))
    except _WrongError as error:
        found.add("syntax", error.line and error.line + offset, str(error), _SYNTAX)
        return None
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        at = re.search(r"at line (\d+)", str(error))
        line = int(at[1]) + offset if at else None
        found.add("syntax", line, f"The trainer cannot read this file: {error}", _SYNTAX)
        return None
    return doc


_SYNTAX = "Mend that line: spaces instead of tabs, one key a line, every bracket closed."


def _too_deep(text: str) -> int | None:
    """Line where more than BRACKETS are open: parsers take minutes for thousands of them."""
    depth = 0
    for line, row in enumerate(text.splitlines(), start=1):
        depth += row.count("[") + row.count("{") - row.count("]") - row.count("}")
        dashes = re.match(r"(?:\s*[-?]\s)*", row)
        nested = dashes is not None and dashes[0].count("- ") + dashes[0].count("? ") > BRACKETS
        if depth > BRACKETS or nested:
            return line
        depth = max(depth, 0)
    return None


class _WrongError(Exception):
    def __init__(self, what: str, line: int | None) -> None:
        super().__init__(what)
        self.line = line


def _yaml(doc: Doc, found: Findings) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import MarkedYAMLError

    def load(*, twice: bool) -> Any:
        reader = YAML(typ="rt")
        reader.allow_duplicate_keys = twice
        return reader.load(doc.text)

    try:
        try:
            data = load(twice=False)
        except DuplicateKeyError as error:
            mark = error.problem_mark
            said = str(error.problem or "a key stands twice").split(" with value")[0]
            found.add(
                "duplicate-key",
                mark.line + 1 + doc.offset if mark else None,
                f"{said}: the trainer takes the last one and says nothing",
                "Remove one of them.",
            )
            data = load(twice=True)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = f"No valid YAML: {error.problem or error.context}"
        raise _WrongError(said, mark.line + 1 if mark else None) from None
    except Exception as error:  # ruamel lets dates, numbers and odd characters raise their own
        raise _WrongError(f"No valid YAML: {first_line(error)}", None) from None
    doc.data = _Plain(doc.lines).of(data, (), 0)


class _Plain:
    """Round-trip YAML data -> dict, list and scalars, with a line for every key."""

    def __init__(self, lines: dict[Path_, int]) -> None:
        self.lines = lines
        self.left = NODES

    def of(self, node: Any, path: Path_, depth: int) -> Any:
        self.left -= 1
        if depth > DEPTH or self.left < 0:
            raise _WrongError("The file is nested too deeply or repeats itself by aliases", None)
        place = getattr(node, "lc", None)
        if isinstance(node, dict):
            made = {}
            for key, value in node.items():
                below = (*path, str(key))
                self._mark(place, "key", key, below)
                made[str(key)] = self.of(value, below, depth + 1)
            return made
        if isinstance(node, list | tuple | set):
            rows = list(node)
            for index in range(len(rows)):
                self._mark(place, "item", index, (*path, index))
            return [self.of(value, (*path, i), depth + 1) for i, value in enumerate(rows)]
        if node is None or isinstance(node, bool):
            return node
        for kind in (int, float, str):
            if isinstance(node, kind):
                return kind(node)
        return str(node)

    def _mark(self, place: Any, what: str, key: Any, path: Path_) -> None:
        try:
            self.lines[path] = getattr(place, what)(key)[0] + 1
        except (KeyError, AttributeError, TypeError, IndexError):
            return


_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|//[^\n]*|/\*.*?\*/|[{}\[\],:]|\n', re.DOTALL)


def _json(doc: Doc) -> None:
    def blank(match: re.Match[str]) -> str:
        token = match[0]
        return re.sub(r"[^\n]", " ", token) if token.startswith("/") else token

    text = _JSON_TOKEN.sub(blank, doc.text)  # comments are allowed in practice
    try:
        doc.data = json.loads(text)
    except json.JSONDecodeError as error:
        raise _WrongError(f"No valid JSON: {error.msg}", error.lineno) from None
    except ValueError as error:
        raise _WrongError(f"No valid JSON: {error}", None) from None
    doc.lines = dict(_json_lines(text))


def _json_lines(text: str) -> Iterator[tuple[Path_, int]]:
    """(path, line) of every key and list item of valid JSON."""
    line, stack, path = 1, [], []  # type: ignore[var-annotated]
    last: str | None = None
    for match in _JSON_TOKEN.finditer(text):
        token = match[0]
        line_here = line
        line += token.count("\n")
        if token in "{[":
            if stack and stack[-1] is not None:
                yield (*path,), line_here
            stack.append(0 if token == "[" else None)
            path.append(0 if token == "[" else "")
        elif token in "}]":
            stack.pop()
            path.pop()
        elif token == "," and stack:
            if stack[-1] is not None:
                stack[-1] += 1
                path[-1] = stack[-1]
        elif token == ":" and last is not None and path:
            path[-1] = last
            yield (*path,), line_here
        if token.startswith('"'):
            try:
                last = str(json.loads(token))
            except ValueError:
                last = token.strip('"')


def _toml_lines(text: str) -> Iterator[tuple[Path_, int]]:
    """(path, line) of tables and keys, by their first line."""
    here: Path_ = ()
    numbers: dict[str, int] = {}
    for line, row in enumerate(text.splitlines(), start=1):
        table = re.match(r"\s*\[(\[?)\s*([\w.\"'-]+)\s*\]", row)
        key = re.match(r"\s*([\w\"'-]+)\s*=", row)
        if table:
            name = table[2].strip("\"'")
            if table[1]:
                numbers[name] = numbers.get(name, -1) + 1
                here = (name, numbers[name])
                yield (name,), line
            else:
                here = tuple(name.split("."))
            yield here, line
        elif key:
            yield (*here, key[1].strip("\"'")), line


_FENCE = re.compile(r"^\s*(```|~~~)\s*(\w*)")


def fenced(text: str) -> list[tuple[str, str, int]]:
    """(language, text, lines before it) of the code blocks of a Markdown page."""
    blocks, rows = [], text.splitlines()
    start: int | None = None
    language = ""
    for index, row in enumerate(rows):
        fence = _FENCE.match(row)
        if fence and start is None:
            start, language = index + 1, fence[2].lower()
        elif fence and start is not None:
            blocks.append((language, "\n".join(rows[start:index]) + "\n", start))
            start = None
    return blocks
