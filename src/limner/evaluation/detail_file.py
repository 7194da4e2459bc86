"""The training pictures' own details, kept beside a grid: what its renders are compared with.

In: what was read off them. Out: details.json, name -> numbers; the verdict needs no picture then.
"""

from __future__ import annotations

import json
from pathlib import Path

from limner.evaluation.details import Training
from limner.project import files

FILE = "details.json"


def write(folder: Path, training: Training) -> None:
    """Keep every number by name, and the copy index of held-out pictures among themselves."""
    names = sorted({name for one in training.details for name in one.values})
    kept = {n: [d.values[n] for d in training.details if n in d.values] for n in names}
    own = []
    for i, look in enumerate(training.held_out):
        others = [o for k, o in enumerate(training.held_out) if k != i]
        rest = Training(training.details, training.looks, others, training.name)
        own.append(rest.copy_index(look))
    kept["copy_index"] = [v for v in own if v is not None]
    files.write_json(folder / FILE, kept)


def read(folder: Path) -> dict[str, list[float]]:
    """What was kept; empty when there is nothing."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {str(k): [float(v) for v in values] for k, values in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}
