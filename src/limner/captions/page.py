"""The check as one HTML page that opens anywhere: no network, no script, light and dark.

In: a sheet and its audit. Out: one file; styles are the report's, pictures are small and inside.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner import look
from limner.captions import edits, steps
from limner.captions.audit import Audit
from limner.captions.findings import NUMBERS, RULES, Finding, printable
from limner.captions.folder import Item, Sheet
from limner.captions.leaks import TRAITS
from limner.captions.merging import marked, visible
from limner.captions.seen import WAY
from limner.project.files import write_text

MOST = 120
"""Captions shown; the page says how many more there are."""
THUMB = 192
SET_WIDE = "captions"


def write_page(sheet: Sheet, audit: Audit, path: Path, *, folder: Path | None = None) -> Path:
    """Write the page and return its path. folder: as the user named it, for the commands shown.

    Raises WorkFailedError when it cannot be written.
    """
    write_text(path, render(sheet, audit, folder))
    return path


def render(sheet: Sheet, audit: Audit, folder: Path | None = None) -> str:
    """The page as text."""
    single: dict[str, list[Finding]] = {}
    for finding in audit.active:
        if finding.file != SET_WIDE:
            single.setdefault(finding.file, []).append(finding)
    known = {i.key: i for i in sheet.items}
    shown = [
        _item(sheet, known.get(k), k, f, audit, folder) for k, f in list(single.items())[:MOST]
    ]
    count = Counter[str](f.severity for f in audit.active)
    told: dict[str, Any] = {**_sentence(audit, count)}
    text = look.render(
        "limner.captions",
        "check.html.j2",
        title=printable(audit.root.resolve().name),
        trigger=audit.trigger,
        count={
            "active": len(audit.active),
            "errors": count["error"],
            "captions": audit.captions,
            "pictures": audit.pictures,
        },
        **told,
        mendable=sum(bool(f.mends) for f in audit.active),
        fix_all=audit.fix_command(folder),
        rules=_rules(audit.active),
        fused=[{**p, "over": p["share"] >= _tick()} for p in audit.phrases],
        tick=_tick(),
        way=WAY if any(p["pictures"] == "not measured" for p in audit.phrases) else "",
        items=shown,
        hidden=max(len(single) - MOST, 0),
        set_wide=[_finding(sheet, f, audit, folder) for f in audit.active if f.file == SET_WIDE],
        waived=[f.as_json() for f in audit.waived],
        unmeasured=audit.unmeasured,
        steps=_steps(sheet),
        undo="limner captions undo NUMBER" + (f" --in {printable(str(folder))}" if folder else ""),
        policy=", ".join(f"{t} {p}" for t, p in audit.policy.items() if p != TRAITS.get(t))
        or "the default list",
    )
    return printable(text)


def _tick() -> float:
    return NUMBERS["frequency_warning"].value


def _sentence(audit: Audit, count: Mapping[str, int]) -> dict[str, str]:
    """The verdict in words a person could say."""
    fused = [f for f in audit.active if f.rule == "frequency"]
    leaks = {f.file for f in audit.active if f.rule == "constant"}
    if not audit.active:
        state, sentence = "Nothing found", f"These {audit.captions} captions can be trained on."
    elif count["error"]:
        state = f"{_count(count['error'], 'error')}, {_count(count['warning'], 'warning')}"
        files = len({f.file for f in audit.active if f.severity == "error"} - {SET_WIDE})
        sentence = f"{_count(files, 'caption')} must be mended before training."
        if not files:
            sentence = "The captions say one thing too often."
    else:
        state, sentence = (
            _count(count["warning"], "warning"),
            "A person should look before training.",
        )
    parts = []
    if fused:
        verb = "stands" if len(fused) == 1 else "stand"
        parts.append(f"{_count(len(fused), 'phrase')} {verb} in too many captions.")
    if leaks:
        verb = "names" if len(leaks) == 1 else "name"
        parts.append(f"{_count(len(leaks), 'caption')} {verb} what never changes.")
    if audit.waived:
        parts.append(f"{_count(len(audit.waived), 'finding')} waived, with the reason.")
    longest = f"The longest caption has about {audit.tokens} tokens (estimated)."
    return {"state": state, "sentence": sentence, "detail": " ".join([*parts, longest])}


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def _rules(found: Sequence[Finding]) -> list[dict[str, Any]]:
    count = Counter(f.rule for f in found)
    worst = {f.rule: f.severity for f in reversed(found)}
    return [
        {"rule": r, "n": n, "means": RULES[r], "severity": worst[r]} for r, n in count.most_common()
    ]


def _item(
    sheet: Sheet,
    item: Item | None,
    key: str,
    found: Sequence[Finding],
    audit: Audit,
    folder: Path | None,
) -> dict[str, Any]:
    picture = None if item is None or item.picture is None else sheet.root / item.picture
    uri = look.thumbnail(picture, THUMB)
    said = item.text if item is not None else None
    take = sheet.takes.get(key)
    kind = "drawing" if take is not None and take.labels.get("drawing") else "picture"
    return {
        "file": visible(printable(key)),
        "kind": kind if kind == "drawing" else "",
        "uri": uri,
        "alt": f"{kind} of {printable(key)}" if uri else _no_picture(item),
        "text": _with_hits(said, found) if said else None,
        "none": "no caption" if item is None or item.raw is None else "no words",
        "findings": [_finding(sheet, f, audit, folder) for f in found],
    }


def _no_picture(item: Item | None) -> str:
    return "no picture" if item is None or item.picture is None else "not readable"


def _finding(sheet: Sheet, one: Finding, audit: Audit, folder: Path | None) -> dict[str, Any]:
    changes = edits.mend(sheet, [one]) if one.mends else []
    return {
        **one.as_json(),
        "command": audit.fix_command(folder, "--id", one.id, "--apply"),
        "change": _change(changes) if changes else None,
    }


def _change(changes: Sequence[edits.Edit]) -> dict[str, Any]:
    """The first change of a mend, as a diff; how many more there are."""
    first = changes[0]
    before, after = visible(first.before or ""), visible(first.after or "")
    parts = marked(before, after)
    note = "the same words, the encoding mended"
    return {
        "file": visible(printable(first.key)),
        "more": len(changes) - 1,
        "same": first.raw is None or before == after,
        "note": "the file is removed" if first.raw is None else note,
        "was": [p for p in parts if p[0] != "ins"],
        "now": [p for p in parts if p[0] != "del"],
    }


def _with_hits(text: str, found: Sequence[Finding]) -> list[tuple[bool, str]]:
    """The caption in pieces; True: words a finding is about."""
    words = {f.subject.partition(": ")[2] or f.subject for f in found if f.subject}
    words = {w for w in words if w and w.lower() in text.lower()}
    if not words:
        return [(False, visible(text))]
    pattern = "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True))
    pieces = re.split(f"({pattern})", text, flags=re.IGNORECASE)
    return [(i % 2 == 1, visible(p)) for i, p in enumerate(pieces) if p]


def _steps(sheet: Sheet) -> list[dict[str, Any]]:
    found = steps.steps(sheet)
    active = steps.standing(found)
    return [
        {**s.as_json(), "at": s.at[:16].replace("T", " "), "gone": s.number not in active}
        for s in reversed(found[-40:])
    ]
