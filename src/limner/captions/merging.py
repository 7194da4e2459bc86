"""Taking one change out of a text that was changed again, and showing what differs.

In: bytes or texts. Out: the text without the change, or None where two changes touch the same
words; differences word by word.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher

_TOKENS = re.compile(r"\w+|\s+|[^\w\s]", re.UNICODE)


def _tokens(text: str) -> list[str]:
    return _TOKENS.findall(text)


def _edits(a: Sequence[str], b: Sequence[str]) -> list[tuple[int, int, list[str]]]:
    """What turns `a` into `b`: (start, end in a, tokens instead)."""
    codes = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return [(i1, i2, list(b[j1:j2])) for tag, i1, i2, j1, j2 in codes if tag != "equal"]


def without(before: bytes | None, after: bytes | None, stands: bytes | None) -> bytes | None:
    """`stands` without the change from `before` to `after`; later changes stay.

    None when a later change touches the same words, when repeated words leave open which of them
    it changed (doing it again would give another text), or one of the three is absent.
    """
    if before is None or after is None or stands is None:
        return None
    out = _merged(after, before, stands)
    if out is None or _merged(before, after, out) not in (stands, None):
        return None
    return out


def _merged(after: bytes, before: bytes, stands: bytes) -> bytes | None:
    """`stands` with what turns `after` into `before`; None where the two changes touch."""
    base, theirs, ours = (
        _tokens(raw.decode("utf-8", "surrogateescape")) for raw in (after, before, stands)
    )
    back, later = _edits(base, theirs), _edits(base, ours)
    if any(b0 <= l1 and l0 <= b1 for b0, b1, _ in back for l0, l1, _ in later):
        return None  # they overlap or touch
    out, at = [], 0
    for start, end, tokens in sorted([*back, *later], key=lambda e: (e[0], e[1])):
        out += [*base[at:start], *tokens]
        at = end
    out += base[at:]
    return "".join(out).encode("utf-8", "surrogateescape")


def marked(before: str, after: str) -> list[tuple[str, str]]:
    """[(what, text)] with what = same, del or ins: the difference word by word."""
    a, b = _tokens(before), _tokens(after)
    found: list[tuple[str, str]] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, a, b, autojunk=False).get_opcodes():
        if tag == "equal":
            found.append(("same", "".join(a[i1:i2])))
            continue
        if i2 > i1:
            found.append(("del", "".join(a[i1:i2])))
        if j2 > j1:
            found.append(("ins", "".join(b[j1:j2])))
    return found


def diff_lines(file: str, before: str | None, after: str | None) -> list[str]:
    """The change of one caption as lines of a diff; what cannot be seen is written as \\u...."""
    lines = [f"--- {file}"]
    lines += [f"- {visible(line)}" for line in (before or "").splitlines() if before is not None]
    lines += [f"+ {visible(line)}" for line in (after or "").splitlines() if after is not None]
    if after is None:
        lines.append("  (the file is removed; undo brings it back)")
    return lines


def visible(text: str) -> str:
    """`text` with invisible and control characters written out."""
    return "".join(
        c if (c.isprintable() and c != "\u00ad") or c in "\t" else f"\\u{ord(c):04x}" for c in text
    )
