"""Faults of a data set TOML of kohya's sd-scripts: [[datasets]] with [[datasets.subsets]].

In: a `Doc` of a TOML file. Out: findings. sd-scripts train no Qwen-Image; many read its layout.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

from limner.training.lint.findings import Findings
from limner.training.lint.reading import Doc, Path_, whole

_NUMBER = re.compile(r"^(\d+)_\w")


def is_dataset(data: Any) -> bool:
    """A file of which a data set has subsets."""
    rows = data.get("datasets") if isinstance(data, dict) else None
    return isinstance(rows, list) and any(isinstance(r, dict) and "subsets" in r for r in rows)


def subsets(doc: Doc) -> list[tuple[Path_, dict[str, Any]]]:
    """(path in the file, subset) with the values of its data set and [general] below its own."""
    found: list[tuple[Path_, dict[str, Any]]] = []
    general = doc.data.get("general")
    for index, row in enumerate(doc.data["datasets"]):
        if not isinstance(row, dict):
            continue
        listed = row.get("subsets")
        shared = {**(general if isinstance(general, dict) else {}), **row}
        for number, subset in enumerate(listed if isinstance(listed, list) else []):
            if isinstance(subset, dict):
                path: Path_ = ("datasets", index, "subsets", number)
                found.append((path, {**shared, **subset}))
    return found


def check_dataset(doc: Doc, found: Findings) -> None:
    """Faults that can be seen in the file."""
    rows = subsets(doc)
    if not rows:
        found.add(
            "no-datasets",
            doc.line("datasets"),
            "There is no [[datasets.subsets]]: nothing to train on",
            '[[datasets.subsets]] with image_dir = "train/40_name"',
        )
    for path, row in rows:
        folder = row.get("image_dir")
        if not isinstance(folder, str) or not folder.strip():
            if not row.get("metadata_file"):
                what = "The subset has no image_dir"
                found.add("no-folder", doc.line(*path), what, 'image_dir = "train/40_name"')
            continue
        if not row.get("caption_extension") and not row.get("metadata_file"):
            found.add(
                "missing-caption",
                doc.line(*path),
                "`caption_extension` is missing: sd-scripts look for .caption, not for .txt",
                'caption_extension = ".txt"',
            )
        named = _NUMBER.match(PurePosixPath(folder.replace("\\", "/").rstrip("/")).name)
        repeats = whole(row.get("num_repeats")) or 1
        if named and int(named[1]) != repeats:
            found.add(
                "folder-repeats",
                doc.line(*path, "num_repeats"),
                f"With a TOML the {named[1]} of `{folder}` repeats nothing: num_repeats is "
                f"{repeats}",
                f"num_repeats = {named[1]}",
            )
