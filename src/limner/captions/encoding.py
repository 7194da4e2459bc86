"""A caption file's bytes as text, with every fault of its encoding, and the bytes without them.

In: bytes of any kind. Out: `Decoded`: the text, how it was stored, and its faults; `repaired` gives
clean text. Nothing here fails: bytes that are no text say so as a fault.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from dataclasses import dataclass

MAX_BYTES = 256 * 1024
"""A larger file is no caption (starting value; the longest useful one has some 3 kB)."""

ZERO_WIDTH = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e"
BIDI = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
_INVISIBLE = re.compile(f"[{ZERO_WIDTH}{BIDI}]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")
_ODD_SPACE = re.compile("[\u00a0\u2000-\u200a\u202f\u205f\u3000\u2028\u2029\x85]")
_CP1252 = "\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u2122"
_MOJIBAKE = re.compile(
    f"[\u00c2\u00c3][\u0080-\u00bf{_CP1252}]|[\u00c4\u00c5][\u0080-\u00bf]"
    f"|\u00e2[\u0080-\u00bf{_CP1252}][\u0080-\u00bf{_CP1252}]|\u00f0\u0178"
)
"""Latin letters, punctuation and emoji gone wrong. Other leads are left alone: a quote after a real
letter (\u201cCAF\u00c9\u201d) would read as one."""
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}


@dataclass(frozen=True)
class Fault:
    """One fault of the encoding; `says` is what the user reads, `certain` that `repaired` knows."""

    rule: str
    says: str
    certain: bool = True


@dataclass(frozen=True)
class Decoded:
    """A file's text. `text` None: these bytes are no text. `codec`, `bom`, `tail`: as stored.

    `text` has no byte order mark and no white space at its ends (`tail` keeps that of the end).
    """

    text: str | None
    codec: str = "utf-8"
    bom: bytes = b""
    head: str = ""
    tail: str = ""
    faults: tuple[Fault, ...] = ()


def decode(raw: bytes) -> Decoded:
    """Read `raw` as the likeliest text: by its mark, else UTF-8, else Windows-1252."""
    if len(raw) > MAX_BYTES:
        said = f"{len(raw)} bytes are too many for a caption (at most {MAX_BYTES})"
        return Decoded(None, faults=(Fault("encoding_binary", said, certain=False),))
    bom, codec, faults = _codec(raw)
    try:
        whole = raw[len(bom) :].decode(codec)
    except UnicodeDecodeError:
        return _no_text()
    if not bom and "\x00" in whole:
        return _no_text()
    text = whole.strip(" \t\r\n")
    head, tail = whole[: len(whole) - len(whole.lstrip(" \t\r\n"))], ""
    if text:
        tail = whole[len(head) + len(text) :]
    found = (*faults, *text_faults(text), *_line_faults(whole, text))
    return Decoded(text, codec, bom, head, tail, found)


def _codec(raw: bytes) -> tuple[bytes, str, list[Fault]]:
    if raw.startswith(codecs.BOM_UTF8):
        says = "a byte order mark stands before the text; some trainers read it as a letter"
        return codecs.BOM_UTF8, "utf-8", [Fault("encoding_bom", says)]
    for mark, codec in _UTF16.items():
        if raw.startswith(mark):
            says = "the file is UTF-16; trainers read UTF-8"
            return mark, codec, [Fault("encoding_not_utf8", says)]
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        says = f"byte {error.start} is no UTF-8; read as Windows-1252"
        codec = "cp1252" if _decodes(raw, "cp1252") else "latin-1"
        return b"", codec, [Fault("encoding_not_utf8", says)]
    return b"", "utf-8", []


def _no_text() -> Decoded:
    return Decoded(None, faults=(Fault("encoding_binary", "this is no text", certain=False),))


def _decodes(raw: bytes, codec: str) -> bool:
    try:
        raw.decode(codec)
    except UnicodeDecodeError:
        return False
    return True


def text_faults(text: str) -> list[Fault]:
    """Faults that sit in the characters: mojibake, invisible, control and lost ones, odd forms."""
    found = []
    if unscrambled(text) != text:
        shown = next(iter(_MOJIBAKE.findall(text)), text[:8])
        found.append(
            Fault("encoding_mojibake", f'"{shown}" is UTF-8 that was read as Windows-1252')
        )
    if hidden := _INVISIBLE.findall(text):
        names = ", ".join(sorted({f"U+{ord(c):04X}" for c in hidden}))
        found.append(Fault("encoding_invisible", f"{len(hidden)} invisible characters ({names})"))
    if _CONTROL.search(text):
        found.append(Fault("encoding_control", "control characters stand in the text"))
    if _ODD_SPACE.search(text):
        found.append(Fault("encoding_space", "a space that is not the plain one"))
    if "\ufffd" in text:
        says = "U+FFFD: a character was lost; only you know which"
        found.append(Fault("encoding_lost", says, certain=False))
    if not found and unicodedata.normalize("NFC", text) != text:
        says = "letters and their accents are stored apart; a tokenizer sees other tokens"
        found.append(Fault("encoding_decomposed", says))
    return found


def _line_faults(whole: str, text: str) -> list[Fault]:
    found = []
    if "\r" in whole:
        found.append(Fault("encoding_crlf", "lines end as on Windows (CR LF)"))
    if len(text.splitlines()) > 1:
        lines = len(text.splitlines())
        says = f"{lines} lines; a trainer reads one line, or all of them as one caption"
        found.append(Fault("encoding_lines", says))
    return found


def unscrambled(text: str) -> str:
    """`text` with UTF-8 that was read as Windows-1252 put right ("cafÃ©" is "café")."""
    for _ in range(2):  # twice scrambled text exists
        if not _MOJIBAKE.search(text):
            return text
        try:
            text = _as_cp1252(text).decode("utf-8")
        except (UnicodeEncodeError, UnicodeDecodeError):
            return _MOJIBAKE_RUN.sub(_unscramble_run, text)
    return text


_MOJIBAKE_RUN = re.compile(f"[\u0080-\u00ff{_CP1252}]{{2,}}")


def _unscramble_run(match: re.Match[str]) -> str:
    try:
        return _as_cp1252(match.group(0)).decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return match.group(0)


def _as_cp1252(text: str) -> bytes:
    """The bytes of `text`; the five bytes Windows-1252 leaves undefined stand for themselves."""
    return b"".join(bytes([ord(c)]) if 0x80 <= ord(c) < 0xA0 else c.encode("cp1252") for c in text)


def repaired(decoded: Decoded) -> str | None:
    """The text on one line without the faults that can be mended; None when it is no text."""
    if decoded.text is None:
        return None
    text, last = decoded.text, None
    while text != last:  # what one mend uncovers, the next round mends; each makes it shorter
        last = text
        text = _CONTROL.sub(" ", _ODD_SPACE.sub(" ", _INVISIBLE.sub("", unscrambled(text))))
        text = unicodedata.normalize("NFC", " ".join(text.split()))
    return text


def encode(decoded: Decoded, text: str) -> bytes:
    """`text` stored as the file was: its mark, codec and line end; UTF-8 where that cannot be."""
    whole = decoded.head + text + decoded.tail
    try:
        return decoded.bom + whole.encode(decoded.codec)
    except UnicodeEncodeError:
        return whole.encode("utf-8", "surrogatepass")


def clean_bytes(decoded: Decoded) -> bytes | None:
    """The file mended: UTF-8 without a mark, one line, a line end only where there was one."""
    text = repaired(decoded)
    if text is None:
        return None
    return (text + ("\n" if "\n" in decoded.tail else "")).encode("utf-8", "replace")
