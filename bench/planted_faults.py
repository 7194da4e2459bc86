"""How well review finds what is planted: twenty kinds of faults in sets of drawn characters.

    python bench/planted_faults.py --work DIR [--characters 12] [--calibrating 6]
    python bench/planted_faults.py --work DIR --calibrate     # the odds of identity, anew
    python bench/planted_faults.py --work DIR --group calibrating --spread   # where thresholds lie
    python bench/planted_faults.py --work DIR --group calibrating --lights   # review.lights.DRAWN

Each character has a planned set of 24 drawings of 256 px and 70 more: drawn or spoilt with a fault.
Its set is judged ten times, with a tenth of the faults each. Thresholds are set on the calibrating
characters only (seeds from 600,000), the table is about the judged ones (from 700,000); the shipped
networks saw neither. Everything is kept in DIR, so that a stopped run goes on. About half a CPU
second a picture. With --text and rapidocr installed, watermarks are looked for (.5 s more).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from faults import calibrate, cast, count, items
from limner.review.measuring import Job, measure
from limner.review.rules import rules
from limner.vision.reading import Reading
from limner.vision.shipped import data_file
from limner.vision.spread import fit_spread

SMALLEST = rules({})["smallest_face"].value
FIRST = {"calibrating": cast.CALIBRATING, "judged": cast.JUDGED}
POOL = 5
"""Strangers and second persons come from the first characters of the same group."""


def folders(work: Path, group: str, number: int) -> list[Path]:
    """The folders of a group's characters."""
    return [work / group / str(FIRST[group] + i) for i in range(number)]


def read_all(work: Path, group: str, number: int, *, text: bool) -> Iterator[str]:
    """Draw, plant and measure what is missing; yields a line a character."""
    wanted = folders(work, group, max(number, POOL))
    for folder in wanted:
        drawn = sum(1 for _ in cast.draw(folder, int(folder.name), 256))
        if drawn:
            yield f"{group} {folder.name}: {drawn} drawn"
    for folder in wanted[:number]:
        found = items.build(folder, [other for other in wanted[:POOL] if other != folder])
        now = sum(_answer(work, item, text)[1] for item in found)
        yield f"{group} {folder.name}: {len(found)} pictures, {now} measured now"


def _answer(work: Path, item: items.Item, text: bool) -> tuple[Reading, bool]:
    job = Job(Path(item.file), "drawing", SMALLEST, text=text)
    answer = measure(job, work / "readings")
    if answer.reading is None:
        raise SystemExit(f"{item.file}: {answer.fault}")
    return answer.reading, not answer.cached


def characters(work: Path, group: str, number: int, *, text: bool) -> dict[str, calibrate.Read]:
    """Seed -> items with their readings, from the cache."""
    return {
        folder.name: [(item, _answer(work, item, text)[0]) for item in items.build(folder, [])]
        for folder in folders(work, group, number)
    }


def write_fusion(found: dict[str, calibrate.Read]) -> dict[str, object]:
    """Fit the odds of identity and what varies within a person; write both into the package."""
    spread = fit_spread(calibrate.people_of(found))
    np.save(data_file("fusion.json").with_name("spread_dlib.npy"), spread.astype(np.float32))
    fusion, card = calibrate.fusion(found)
    table = json.loads(data_file("fusion.json").read_text(encoding="utf-8"))
    weights = [round(float(w), 5) for w in fusion.weights]
    table["drawing"] = {"weights": weights, "bias": round(fusion.bias, 5), "card": card}
    data_file("fusion.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    return card


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description="Planted faults")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps everything")
    parser.add_argument("--characters", type=int, default=12, help="judged characters")
    parser.add_argument("--calibrating", type=int, default=6, help="calibrating characters")
    parser.add_argument("--group", choices=tuple(FIRST), default="judged")
    parser.add_argument("--calibrate", action="store_true", help="fit the odds of identity anew")
    parser.add_argument("--spread", action="store_true", help="where good and spoilt measures lie")
    parser.add_argument("--lights", action="store_true", help="what each light does to a face")
    parser.add_argument("--text", action="store_true", help="look for writing (needs rapidocr)")
    given = parser.parse_args()
    group = "calibrating" if given.calibrate else given.group
    number = given.calibrating if group == "calibrating" else given.characters
    for line in read_all(given.work, group, number, text=given.text):
        print(line, file=sys.stderr, flush=True)
    found = characters(given.work, group, number, text=given.text)
    if given.calibrate:
        print(json.dumps(write_fusion(found), indent=1))
    elif given.lights:
        print("\n".join(calibrate.lights(found)))
    elif given.spread:
        print("\n".join(calibrate.spread(found)))
    else:
        table = rules({})
        judged = [lot for read in found.values() for lot in count.outcomes(read, table)]
        pictures = sum(len(read) for read in found.values())
        print(f"{len(found)} characters, {pictures} pictures\n")
        print("\n".join(count.as_table(count.count(judged))))


if __name__ == "__main__":
    main()
