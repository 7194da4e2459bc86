"""character.yaml: read with lines, validated with clear errors, changed with comments kept."""

from __future__ import annotations

import datetime
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import InputError
from limner.project.files import write_text

if TYPE_CHECKING:
    from limner.project.settings import Character

TEMPLATE = """\
# The character: what never changes. Limner reads this file; every key is checked.
name: {name}
trigger: {trigger}          # the word that calls the character; first in every caption
class_word: {class_word}
likeness: {likeness}        # synthetic | consented_person (then: consent with evidence and date)
{consent}description: {description}
traits: {{}}                # constants by name, e.g. {{hair_color: auburn, eyes: green}}

shots:
  count: 40                 # 8 to 400
  seed: 1
  preset: seed              # seed (the guide's 12/12/8/8) | portrait
source:
{source}training:
  base: miniature           # built in, for drawings; photographs: Qwen/Qwen-Image-Edit-2509
  template: t2i             # t2i | edit
"""


def source_lines(name: str) -> str:
    """What a new character.yaml says under `source:`: only the atelier has a size to choose."""
    others = "atelier (drawn) | inbox (made elsewhere) | higgsfield | comfyui | diffusers"
    size = "size: 512" if name == "atelier" else "short_side: 1024"
    says = "side of a drawing, px" if name == "atelier" else "least short side of a picture, px"
    return f"  name: {name:<19} # {others}\n  {size:<25} # {says}\n"


def yaml_of(text: str, file: Path) -> Any:
    """YAML text -> round-trip values (comments and lines kept). Raises InputError with the line."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt").load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise InputError(
            f"{file.name} is not valid YAML: {error.problem or error.context}",
            where=f"{file}{line}",
            fix="Mend that line; indent with spaces, one key a line.",
        ) from None
    except (YAMLError, ValueError) as error:  # ValueError: a day that no calendar has, unquoted
        at = next((n for n, one in enumerate(text.splitlines(), 1) if _no_day(one)), 0)
        raise InputError(
            f"{file.name} is not valid YAML: {error}",
            where=f"{file}:{at}" if at else str(file),
            fix="Write a day that there is, as YYYY-MM-DD." if at else None,
        ) from None


def _no_day(line: str) -> bool:
    """Whether a line holds a date that no calendar has, such as 2026-02-30."""
    for found in re.findall(r"\b\d{4}-\d{1,2}-\d{1,2}\b", line):
        try:
            datetime.date(*map(int, found.split("-")))
        except ValueError:
            return True
    return False


def parse(text: str, file: Path) -> Any:
    """YAML text -> round-trip mapping (keeps comments and lines). Raises InputError."""
    data = yaml_of(text, file)
    if not isinstance(data, dict):
        raise InputError(
            f"{file.name} holds no keys", where=str(file), fix="Write `name: ...` and so on."
        )
    return data


def _line_of(data: Any, loc: tuple[Any, ...]) -> int | None:
    """Line (1-based) of the deepest part of `loc` that stands in the file."""
    line = None
    node = data
    for key in loc:
        lc = getattr(node, "lc", None)
        try:
            if lc is not None and isinstance(node, dict) and key in node:
                line = lc.key(key)[0] + 1
            elif lc is not None and isinstance(node, list):
                line = lc.item(key)[0] + 1
            node = node[key]
        except (KeyError, IndexError, TypeError):
            break
    return line


FORMS = {
    "trigger": "lower-case letters, digits and single underscores, e.g. grace_char",
    "class_word": "a plain word, e.g. woman",
    "date": "a day, YYYY-MM-DD",
    "revoked": "a day, YYYY-MM-DD, or left out",
}
"""Fields with a form, and the form in words."""


def _said(problem: Any) -> str:
    """What pydantic found, in words for somebody who never saw a regular expression."""
    form = FORMS.get(str(problem["loc"][-1])) if problem["loc"] else None
    if problem["type"] == "string_pattern_mismatch" and form:
        return f"{problem['input']!r} should be {form}"
    return str(problem["msg"]).removeprefix("Value error, ")


def validate(data: Any, file: Path | None) -> Character:
    """Mapping -> Character. Raises InputError naming every wrong field with its line.

    file: None for values that stand in no file yet.
    """
    from pydantic import ValidationError

    from limner.project.settings import Character

    try:
        return Character.model_validate(_plain(data))
    except ValidationError as error:
        problems = []
        for item in error.errors():
            field = ".".join(str(k) for k in item["loc"]) or "character"
            line = _line_of(data, item["loc"])
            problems.append((line, field, _said(item)))
        if file is None:
            told = "; ".join(f"{field}: {msg}" for _, field, msg in problems)
            raise InputError(told, fix="`limner help new` shows an example.") from None
        first = min((p[0] for p in problems if p[0]), default=None)
        said = "; ".join(
            f"{field}{f' (line {line})' if line else ''}: {msg}" for line, field, msg in problems
        )
        raise InputError(
            f"{file.name}: {said}",
            where=f"{file}:{first}" if first else str(file),
            fix="Mend the named fields; docs/config.md lists all of them.",
        ) from None


def _plain(node: Any) -> Any:
    """Plain values; a day written without quotes is a date to YAML, and a text to us."""
    if isinstance(node, datetime.date) and not isinstance(node, datetime.datetime):
        return node.isoformat()
    if isinstance(node, dict):
        return {str(k): _plain(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_plain(v) for v in node]
    return node


def load(file: Path) -> Character:
    """Read and validate. Raises InputError (missing, unreadable, wrong)."""
    return validate(parse(read(file), file), file)


def read(file: Path) -> str:
    """The file's text. Raises InputError when it is missing or no UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"{file.name} is missing", where=str(file), fix="Make it again with `limner new`."
        ) from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            f"{file.name} is not saved as UTF-8: a byte in line {line} is no character of it",
            where=f"{file}, line {line}",
            fix="Open it in an editor and save it with the encoding UTF-8.",
        ) from None
    except OSError as error:
        raise InputError(
            f"{file.name} cannot be read: {error.strerror or error}",
            where=str(file),
            fix="It must be a file that you may read.",
        ) from None


def change(file: Path, updates: dict[str, Any]) -> Character:
    """Set keys (dotted names allowed), keep comments, validate, then write whole.

    Nothing is written when the result would be invalid.
    """
    from ruamel.yaml import YAML

    data = parse(read(file), file)
    for dotted, value in updates.items():
        node = data
        *path, last = dotted.split(".")
        for key in path:
            if not isinstance(node.get(key), dict):
                node[key] = {}
            node = node[key]
        node[last] = value
    character = validate(data, file)
    out = io.StringIO()
    YAML(typ="rt").dump(data, out)
    write_text(file, out.getvalue())
    return character
