"""One line of a JSON-lines file as a caption: its picture, its text, and the line with another.

In: the line's bytes. Out: a `CaptionLine`, or why it is none. Only the text's own characters are
replaced: keys, their order, white space and the other values stay byte for byte.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from limner.captions.encoding import Decoded, Fault, decode, repaired, text_faults

PICTURE_KEYS = ("file_name", "image_path", "image", "image_file", "file", "path", "filename")
"""Hugging Face imagefolder, musubi-tuner, DiffSynth; the first that is there counts."""
TEXT_KEYS = ("text", "caption", "prompt")

_DECODER = json.JSONDecoder()
_SPACE = " \t\r\n"


@dataclass(frozen=True)
class CaptionLine:
    """A line that names a picture and its text. `start`, `end`: the JSON string in `source`."""

    source: str
    stored: Decoded
    picture: str
    decoded: Decoded
    start: int
    end: int

    def with_text(self, text: str, *, clean: bool = False) -> bytes:
        """The line with another text; `clean`: UTF-8, no mark, LF, the text without faults."""
        if clean:
            text = repaired(replace(self.decoded, text=text)) or ""
        plain = self.source.isascii()
        spoken = json.dumps(text, ensure_ascii=plain and not clean)
        line = self.source[: self.start] + spoken + self.source[self.end :]
        if clean:
            return line.replace("\r", "").encode("utf-8", "replace")
        try:
            return self.stored.bom + line.encode(self.stored.codec)
        except UnicodeEncodeError:
            return self.stored.bom + (
                self.source[: self.start] + json.dumps(text) + self.source[self.end :]
            ).encode(self.stored.codec)


def read_line(raw: bytes) -> CaptionLine | str:
    """The line as a caption, or in words why it is none."""
    stored = decode(raw)
    if stored.text is None:
        return "this is no text"
    source = stored.head + stored.text + stored.tail
    try:
        spans = _fields(source)
    except (ValueError, RecursionError, IndexError) as error:
        return f"no JSON object ({error})"
    picture = next((spans[k][2] for k in PICTURE_KEYS if k in spans), None)
    name = next((k for k in TEXT_KEYS if k in spans), None)
    if not isinstance(picture, str) or not picture.strip():
        return f"no picture is named (none of {', '.join(PICTURE_KEYS[:3])})"
    if name is None or not isinstance(spans[name][2], str):
        return f"no text stands in it (none of {', '.join(TEXT_KEYS)})"
    start, end, text = spans[name]
    return CaptionLine(source, stored, picture, _of_value(str(text), stored), start, end)


def _of_value(text: str, stored: Decoded) -> Decoded:
    """The value's own faults beside those of the line it stands in."""
    kinds = ("encoding_bom", "encoding_not_utf8", "encoding_crlf")
    found = [f for f in stored.faults if f.rule in kinds]
    text = text.encode("utf-8", "replace").decode("utf-8")  # half a surrogate pair is no character
    found += text_faults(text)
    lines = len(text.splitlines())
    if lines > 1:
        found.append(Fault("encoding_lines", f"{lines} lines in one caption"))
    return Decoded(text.strip(_SPACE), faults=tuple(found))


def _fields(source: str) -> dict[str, tuple[int, int, object]]:
    """Top-level key -> (start, end, value) of one JSON object. Raises ValueError."""
    at = _skip(source, 0)
    if source[at] != "{":
        raise ValueError("it does not begin with {")
    found: dict[str, tuple[int, int, object]] = {}
    at = _skip(source, at + 1)
    if source[at] == "}":
        return found
    while True:
        if source[at] != '"':
            raise ValueError(f"a key is missing at character {at}")
        key, at = _DECODER.raw_decode(source, at)
        at = _skip(source, at)
        if source[at] != ":":
            raise ValueError(f"a colon is missing at character {at}")
        start = _skip(source, at + 1)
        value, end = _DECODER.raw_decode(source, start)
        found[str(key)] = (start, end, value)
        at = _skip(source, end)
        if source[at] == "}":
            break
        if source[at] != ",":
            raise ValueError(f"a comma is missing at character {at}")
        at = _skip(source, at + 1)
    if source[at + 1 :].strip(_SPACE):
        raise ValueError("something follows the object")
    return found


def _skip(source: str, at: int) -> int:
    while source[at] in _SPACE:
        at += 1
    return at
