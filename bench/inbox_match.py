"""How many nameless, shuffled drawings find their shot in the inbox, and how many find a wrong one?

Run: python -m bench.inbox_match [--characters 6] [--shots 24] [--side 320] [--json FILE]
Each character plans its own shots, is drawn once for each, and its drawings are dropped in under
random names in random order: as PNG (the file says that it is a drawing) and as JPEG without any
note (measured as a photograph would be). Characters 1 to 3 set the widths of
`limner.sources.intake.likeness`; only later ones are reported. About 20 s a character.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from limner.events import collect
from limner.project import Project
from limner.shots import plan
from limner.sources import inbox, open_source, substitute
from limner.sources.source import Request

FIRST = 4
"""The first character that is judged; those before it set the numbers."""
KEPT = Path("build/inbox_match")
LOOKS = ("auburn long wavy hair and green eyes", "black bob and brown eyes",
         "blonde ponytail and blue eyes", "grey short hair and hazel eyes",
         "brown curly hair and grey eyes", "dark brown bun and brown eyes")  # fmt: skip


def character(number: int, shots: int, root: Path) -> Project:
    """A planned project of one character."""
    made = Project.create(
        root / f"character_{number}",
        name=f"Inbox {number}",
        trigger=f"inbox{number}_char",
        class_word=("woman", "man")[number % 2],
        likeness="synthetic",
        description=LOOKS[number % len(LOOKS)],
    )
    made.change_character(
        shots__count=shots, shots__seed=1000 + number, source__identity_seed=7000 + number
    )
    collect(plan(made, abilities=open_source(made).abilities()))
    return made


def drawings(project: Project, number: int, side: int) -> Iterator[tuple[str, bytes]]:
    """A drawing of every shot, kept between runs of the bench: shot id, PNG."""
    source = open_source(project)
    able = source.abilities()
    for shot in project.store.shots():
        file = KEPT / f"{number}_{len(project.store.shots())}_{side}_{shot.id}.png"
        if not file.exists():
            attributes, _ = substitute(shot.attributes, able)
            request = Request(shot.id, shot.prompt, attributes, shot.seed, side)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(source.make(request, {}, lambda facts: None)[0].data)
        yield shot.id, file.read_bytes()
    source.close()


def drop(pictures: list[tuple[str, bytes]], number: int, kind: str, root: Path) -> tuple[Any, Any]:
    """A folder of shuffled pictures and which shot each belongs to ("" for a stranger's)."""
    folder = root / f"drop_{number}_{kind}"
    folder.mkdir()
    dice = random.Random(number)
    dice.shuffle(pictures)
    truth = {}
    for place, (shot, data) in enumerate(pictures):
        name = f"img_{place:03d}.{'png' if kind == 'png' else 'jpg'}"
        if kind == "png":
            (folder / name).write_bytes(data)
        else:
            out = io.BytesIO()
            Image.open(io.BytesIO(data)).convert("RGB").save(out, "JPEG", quality=92)
            (folder / name).write_bytes(out.getvalue())
        truth[name] = shot
    return folder, truth


def judged(project: Project, folder: Path, truth: dict[str, str]) -> dict[str, int]:
    """Right and wrong among what would be taken, and the first guess among what is not sure."""
    found = collect(inbox(project, folder, dry_run=True))
    assert isinstance(found, dict)
    right = sum(truth[p["file"]] == p["shot"] for p in found["pairs"])
    strangers = sum(not truth[p["file"]] for p in found["pairs"])
    unsure = found.get("unsure", [])
    return {
        "pictures": len(truth),
        "right": right,
        "wrong": len(found["pairs"]) - right - strangers,
        "strangers_taken": strangers,
        "unsure": len(unsure),
        "unsure_right": sum(truth[u["file"]] == u["guesses"][0] for u in unsure),
        "unsure_among": sum(truth[u["file"]] in u["guesses"] for u in unsure),
        "left": len(found["leftovers"]),
    }


def main() -> None:
    """Draw, drop, count, and print the table of docs/sources.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=6)
    parser.add_argument("--first", type=int, default=FIRST)
    parser.add_argument("--shots", type=int, default=24)
    parser.add_argument("--side", type=int, default=320)
    parser.add_argument("--kinds", default="png,jpeg")
    parser.add_argument("--strangers", type=int, default=0, help="as many are another plan's")
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    rows: dict[str, list[dict[str, int]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for number in range(chosen.first, chosen.first + chosen.characters):
            project = character(number, chosen.shots, root)
            pictures = list(drawings(project, number, chosen.side))
            if chosen.strangers:
                other = character(number % 3 + 1, chosen.shots, root / f"beside_{number}")
                foreign = list(drawings(other, number % 3 + 1, chosen.side))
                mixed = random.Random(number).sample(range(len(pictures)), chosen.strangers)
                for at in mixed:
                    pictures[at] = ("", foreign[at][1])
            for kind in chosen.kinds.split(","):
                row = judged(project, *drop(list(pictures), number, kind, root))
                rows.setdefault(kind, []).append(row)
                print(number, kind, row, flush=True)
    sums = {k: {n: sum(r[n] for r in own) for n in own[0]} for k, own in rows.items()}
    print(json.dumps(sums, indent=1))
    if chosen.json:
        chosen.json.write_text(json.dumps({"sums": sums, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
