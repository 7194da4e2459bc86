"""Changing captions: find and replace, one text set by hand, and the mends of findings.

In: a `Sheet`. Out: `Edit`s to look at first (a diff); `steps.apply` writes them as one step.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fnmatch import fnmatchcase

from limner.captions.encoding import decode
from limner.captions.findings import RANK, RULES, Finding, Mend, printable
from limner.captions.folder import Item, Sheet
from limner.captions.lines import CaptionLine, read_line
from limner.captions.merging import diff_lines
from limner.errors import InputError, UsageError


@dataclass(frozen=True)
class Edit:
    """One caption before and after; `raw` are the bytes to write (None: the file is removed)."""

    key: str
    before: str | None
    after: str | None
    raw: bytes | None

    def lines(self) -> list[str]:
        """The edit as lines of a diff."""
        if self.before == self.after:
            return [f"--- {printable(self.key)}", "  (the same words, the encoding mended)"]
        return diff_lines(printable(self.key), self.before, self.after)

    def as_json(self) -> dict[str, str | None]:
        """For `--json`."""
        return {"file": printable(self.key), "before": self.before, "after": self.after}


def changes(edits: Sequence[Edit]) -> dict[str, bytes | None]:
    """What `steps.apply` writes."""
    return {e.key: e.raw for e in edits}


def find_replace(
    sheet: Sheet,
    find: str,
    replace: str,
    *,
    regex: bool = True,
    ignore_case: bool = False,
    only: str = "*",
) -> list[Edit]:
    r"""Every caption in which `find` stands, with `replace` instead (`\1`, `\g<name>` with regex).

    only: file names it is done in, with `*` and `?`. Raises UsageError for an empty or wrong
    pattern or replacement, and when a caption would be left empty.
    """
    if not find:
        raise UsageError("Nothing to find was given", fix="Say it with --find.")
    try:
        pattern = re.compile(find if regex else re.escape(find), re.IGNORECASE * ignore_case)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(
            f"the pattern is wrong: {error}",
            where=printable(find),
            fix="Correct it, or give --plain to find the words as they stand.",
        ) from None
    edits = []
    for item in sheet.items:
        if item.text is None or not fnmatchcase(item.key, only):
            continue
        try:
            after = pattern.sub(replace if regex else (lambda _: replace), item.text)
        except (re.error, IndexError) as error:
            raise UsageError(
                f"the replacement is wrong: {error}",
                where=printable(replace),
                fix=r"\1 is the first group; write \\ for a backslash.",
            ) from None
        if after != item.text:
            edits.append(_edit(item, after))
    empty = [e for e in edits if not (e.after or "").strip()]
    if empty:
        raise UsageError(
            f"{len(empty)} captions would be left empty",
            where=printable(empty[0].key),
            fix="Make the pattern narrower.",
        )
    return edits


def set_text(sheet: Sheet, name: str, text: str) -> list[Edit]:
    """One caption set by hand; `name` is its key, its picture, or the file's own name.

    Raises UsageError for an empty text, InputError when no caption, or several, have that name.
    """
    line = " ".join(text.split())
    if not line:
        raise UsageError("A caption cannot be empty", fix="Give the text, or leave it as it is.")
    item = find_item(sheet, name)
    return [] if item.text == line else [_edit(item, line)]


def find_item(sheet: Sheet, name: str) -> Item:
    """The caption called `name`. Raises InputError when there is none, or more than one."""

    def called(item: Item) -> bool:
        names = {item.key, item.picture or "", item.key.rpartition("/")[2].rpartition("#")[2]}
        return name in names | {(item.picture or "").rpartition("/")[2]}

    found = [i for i in sheet.items if i.key == name] or [i for i in sheet.items if called(i)]
    if len(found) != 1:
        raise InputError(
            f"{len(found) or 'no'} captions are called {name}",
            where=str(sheet.root),
            fix="Name one by its path in the folder, as `limner captions check` does.",
        )
    return found[0]


def _edit(item: Item, after: str) -> Edit:
    return Edit(item.key, item.text, after, item.with_text(after))


def mend(sheet: Sheet, findings: Sequence[Finding]) -> list[Edit]:
    """The captions with these findings mended, each caption once, rules in their order."""
    by_key: dict[str, list[tuple[int, Mend]]] = {}
    for finding in findings:
        for one in finding.mends:
            by_key.setdefault(one.key, []).append((RANK[finding.rule], one))
    items: Mapping[str, Item] = {i.key: i for i in sheet.items}
    edits = []
    for key, ranked in by_key.items():
        item = items.get(key)
        if item is None:
            continue
        edit = _mended(item, [m for _, m in sorted(ranked, key=lambda r: r[0])])
        if edit.raw != item.raw:
            edits.append(edit)
    return sorted(edits, key=lambda e: e.key)


def _mended(item: Item, mends: Sequence[Mend]) -> Edit:
    if any(m.remove for m in mends):
        return Edit(item.key, item.text, None, None)
    clean = any(m.clean for m in mends)
    text = (item.mended() if clean else item.text) or ""
    for one in mends:
        text = one.how(text)
    raw = item.with_text(text, clean=clean)
    return Edit(item.key, item.text, _text(raw, item.line), raw)


def _text(raw: bytes, line: CaptionLine | None) -> str | None:
    if line is None:
        return decode(raw).text
    again = read_line(raw)
    return None if isinstance(again, str) else again.decoded.text


def pick(
    findings: Sequence[Finding], names: Collection[str], rules: Collection[str], file: str = "*"
) -> list[Finding]:
    """Findings by id, or by rule (with `*`), in files like `file`; neither given: all of them.

    Raises InputError for an id that is none, UsageError for a rule that no finding can have.
    """
    for rule in rules:
        if not any(fnmatchcase(name, rule) for name in RULES):
            near = get_close_matches(rule, RULES, 1)
            meant = f"Did you mean {near[0]}? " if near else ""
            raise UsageError(
                f"there is no rule {rule!r}",
                where="--rule",
                fix=f"{meant}The rules are: {', '.join(RULES)}.",
            )
    known = {f.id for f in findings}
    if unknown := [n for n in names if n not in known]:
        raise InputError(
            f"there is no finding {unknown[0]}",
            fix="Ids are those `limner captions check` shows; it may be mended already.",
        )
    wanted = [
        f
        for f in findings
        if (not names and not rules)
        or f.id in names
        or any(fnmatchcase(f.rule, rule) for rule in rules)
    ]
    return [f for f in wanted if fnmatchcase(f.file, file)]
