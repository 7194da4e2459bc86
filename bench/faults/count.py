"""Judging the planted pictures in small lots, and counting what was found.

In: items and readings of the judged characters. Out: one row a fault: recall and false rejects with
exact intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from faults.items import Item
from limner.evaluation.statistics import clopper_pearson
from limner.project.records import Shot, Take
from limner.review.case import Case, Judgement
from limner.review.judge import judge
from limner.review.measuring import Seen
from limner.review.rules import Rule
from limner.vision.reading import Reading

LOTS = 10
"""A character's set is judged so many times, with a tenth of its planted pictures each."""
RULES_OF: dict[str, tuple[str, ...]] = {
    "other_identity": ("identity",),
    "look_alike": ("identity",),
    "blur": ("blur", "enlarged"),
    "face_defocus": ("blur", "enlarged"),
    "noise": ("noise",),
    "over_exposed": ("overexposed", "clipped"),
    "under_exposed": ("underexposed",),
    "oversaturated": ("chroma",),
    "duplicate_exact": ("duplicate",),
    "duplicate_mirrored": ("duplicate",),
    "duplicate_re_encoded": ("duplicate",),
    "duplicate_cropped": ("duplicate",),
    "wrong_angle": ("angle", "face"),
    "wrong_framing": ("framing", "face"),
    "no_face": ("face", "angle", "framing"),
    "two_people": ("faces_max",),
    "watermark": ("text",),
    "border": ("border",),
    "upscaled": ("enlarged", "blur"),
    "jpeg_20": ("blocks",),
}
"""Fault -> rules that are meant for it; its false rejects are theirs on good pictures."""
FACES = ("other_identity", "look_alike")
"""Faults that are counted on assessable faces only."""


@dataclass(frozen=True)
class Outcome:
    """What became of one picture in one lot."""

    item: Item
    judgement: Judgement


@dataclass(frozen=True)
class Count:
    """One row. caught: rejected for a rule of the fault or any other but `duplicate`. shown: or
    undecided. false: good pictures that its rules rejected, of `good`."""

    fault: str
    planted: int
    assessable: int
    caught: int
    shown: int
    false: int
    good: int


def lots(read: Sequence[tuple[Item, Reading]]) -> list[list[tuple[Item, Reading]]]:
    """The good set with a tenth of the planted pictures, each planted picture in one lot.

    Pictures made of the same spare drawing never stand in one lot: they would be copies.
    """
    good = [pair for pair in read if not pair[0].fault]
    made: list[list[tuple[Item, Reading]]] = [[] for _ in range(LOTS)]
    names = sorted({i.fault for i, _ in read if i.fault})
    operations = [n for n in names if sum(i.fault == n for i, _ in read) == 4]
    for item, reading in read:
        if not item.fault:
            continue
        number = int(item.name.rsplit("_", 1)[1])
        step = names.index(item.fault)
        if item.fault in operations and "planted" in item.file:
            step = operations.index(item.fault)
            made[(step + 3 * number) % LOTS].append((item, reading))
        else:
            made[(3 * step + number) % LOTS].append((item, reading))
    return [[*good, *lot] for lot in made]


def outcomes(
    read: Sequence[tuple[Item, Reading]], table: Mapping[str, Rule]
) -> list[list[Outcome]]:
    """Every lot judged by the product's own rules."""
    found = []
    for lot in lots(read):
        cases = []
        for place, (item, reading) in enumerate(lot):
            take = Take(place + 1, item.name, "atelier", 1, 0, "done", path=item.file)
            shot = Shot(item.name, place, item.asked, "", 0, item.asked["angle"] != "pure_back")
            name = Path(item.file).name
            cases.append(Case(take, shot, Seen(take, reading), "drawing", name=name))
        judged = judge(cases, table).all
        found.append([Outcome(i, j) for (i, _), j in zip(lot, judged, strict=True)])
    return found


def count(all_lots: Sequence[Sequence[Outcome]]) -> list[Count]:
    """One row a fault, then one for all good pictures (any rule)."""
    flat = [one for lot in all_lots for one in lot]
    good: dict[tuple[str, str], list[Judgement]] = {}
    for one in flat:
        if not one.item.fault:
            good.setdefault((one.item.file, one.item.name), []).append(one.judgement)
    rows = []
    for fault, rules in RULES_OF.items():
        planted = [one for one in flat if one.item.fault == fault]
        judged = [o for o in planted if fault not in FACES or _assessed(o)]
        caught = sum(_rejected(o.judgement, fault) for o in judged)
        shown = sum(_rejected(o.judgement, fault) or _doubted(o.judgement, fault) for o in judged)
        false = sum(_mostly(js, rules) for js in good.values())
        rows.append(Count(fault, len(planted), len(judged), caught, shown, false, len(good)))
    rejected = sum(sum(j.verdict == "reject" for j in js) * 2 > len(js) for js in good.values())
    asked = sum(sum(j.verdict != "keep" for j in js) * 2 > len(js) for js in good.values())
    rows.append(Count("any fault", len(good), len(good), rejected, asked, rejected, len(good)))
    return rows


def _assessed(one: Outcome) -> bool:
    """By the exact labels, and by what review measured: the face was judged."""
    return one.item.assessable


def _rejected(judgement: Judgement, fault: str) -> bool:
    """Rejected, and not only as a copy where another fault was planted."""
    copies = fault.startswith("duplicate")
    return any(
        f.severity == "reject" and (f.rule == "duplicate") == copies for f in judgement.findings
    )


def _doubted(judgement: Judgement, fault: str) -> bool:
    copies = fault.startswith("duplicate")
    return any((f.rule == "duplicate") == copies for f in judgement.findings)


def _mostly(judgements: Sequence[Judgement], rules: Sequence[str]) -> bool:
    """In more than half of the lots."""
    return 2 * sum(j.has(*rules) for j in judgements) > len(judgements)


def as_table(rows: Sequence[Count]) -> list[str]:
    """The rows as Markdown."""
    lines = [
        "| planted | n | judged | rejected | or shown to a person | good ones its rules reject |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows[:-1]:
        said = [_share(row.caught, row.assessable), _share(row.shown, row.assessable)]
        lines.append(
            f"| {row.fault.replace('_', ' ')} | {row.planted} | {row.assessable} | {said[0]} "
            f"| {said[1]} | {_share(row.false, row.good)} |"
        )
    last = rows[-1]
    lines.append(
        f"| good pictures, all rules | {last.good} | {last.good} "
        f"| {_share(last.caught, last.good)} | {_share(last.shown, last.good)} | |"
    )
    return lines


def _share(hits: int, n: int) -> str:
    if not n:
        return "not measured"
    interval = clopper_pearson(hits, n)
    span = f"{100 * interval.low:.0f} to {100 * interval.high:.0f} %"
    return f"{hits} of {n}, {100 * hits / n:.1f} % ({span})"
