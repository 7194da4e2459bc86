"""Groups of pairs as the files of one layout: names and bytes, nothing is written here.

In: `Layout`, `Group`s. Out: relative name -> bytes, the data-set configs of the trainer among them;
`zipped` makes one archive of them, the same bytes for the same input.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace

from limner.dataset.layouts import CONTROL, Group, Layout, Pair
from limner.errors import InputError, UsageError

START_OF_ZIP = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip can hold: no clock in it."""


def readable(groups: Sequence[Group], layout: Layout) -> tuple[tuple[Group, ...], int]:
    """The groups with only picture types the target reads, and how many were made PNG."""
    changed = 0
    made = []
    for group in groups:
        pairs = []
        for pair in group.pairs:
            if pair.suffix.lower() not in layout.suffixes:
                pair = replace(pair, suffix=".png", data=_as_png(pair))
                changed += 1
            pairs.append(pair)
        made.append(replace(group, pairs=tuple(pairs)))
    return tuple(made), changed


def _as_png(pair: Pair) -> bytes:
    from PIL import Image, ImageOps

    try:
        with Image.open(io.BytesIO(pair.data)) as source:
            upright = ImageOps.exif_transpose(source)
            out = io.BytesIO()
            upright.convert("RGB").save(out, "PNG")
    except OSError:
        raise InputError(f"{pair.picture} is no picture that can be read") from None
    return out.getvalue()


def files_of(groups: Sequence[Group], layout: Layout, trigger: str) -> dict[str, bytes]:
    """Every file of the export, by relative name. Raises UsageError for controls it cannot hold."""
    if any(g.controls for g in groups) and not layout.control:
        raise UsageError(
            f"{layout.name} takes no control pictures",
            where="--control",
            fix="Use --control none, or export for ai-toolkit, musubi, simpletuner or fal.",
        )
    _refuse_doubles(groups, layout)
    writers = {"kohya": _kohya, "diffusers": _diffusers, "fal": _fal}
    if layout.name in writers:
        return writers[layout.name](groups, trigger)
    return _flat(groups) if layout.zipped else _folders(groups, layout.name)


def _refuse_doubles(groups: Sequence[Group], layout: Layout) -> None:
    """In a flat layout two pictures must not have one name; in a folder neither."""
    flat = layout.zipped or layout.name == "diffusers"
    for part in [groups] if flat else [[g] for g in groups]:
        stems = [p.stem.lower() for g in part for p in g.pairs]
        if doubles := sorted({s for s in stems if stems.count(s) > 1}):
            raise InputError(
                f"Two pictures are called {doubles[0]}",
                fix="Rename one with its caption: they would share one caption file.",
            )


def _pairs(folder: str, pairs: Sequence[Pair]) -> dict[str, bytes]:
    made = {}
    for pair in pairs:
        made[f"{folder}{pair.picture}"] = pair.data
        made[f"{folder}{pair.stem}.txt"] = pair.caption.encode()
    return made


def _flat(groups: Sequence[Group]) -> dict[str, bytes]:
    return {name: data for group in groups for name, data in _pairs("", group.pairs).items()}


def _folders(groups: Sequence[Group], target: str) -> dict[str, bytes]:
    """A flat folder a group, controls beside it.

    ai-toolkit and SimpleTuner want a folder for each control with the picture's own name;
    musubi-tuner one folder with name_0, name_1 when there are several.
    """
    made: dict[str, bytes] = {}
    for group in groups:
        made |= _pairs(f"{group.name}/", group.pairs)
        for pair in group.pairs:
            several = len(pair.controls) > 1
            for number, control in enumerate(pair.controls):
                if target == "musubi":
                    name = f"{pair.stem}_{number}.png" if several else f"{pair.stem}.png"
                    made[f"{group.name}{CONTROL}/{name}"] = control
                else:
                    behind = f"{CONTROL}{number + 1}" if several else CONTROL
                    made[f"{group.name}{behind}/{pair.stem}.png"] = control
    return made


def _kohya(groups: Sequence[Group], trigger: str) -> dict[str, bytes]:
    """`train/40_grace_char/`: nothing else may lie in `train/`."""
    made: dict[str, bytes] = {}
    for group in groups:
        made |= _pairs(f"train/{group.repeats or 1}_{group.name}/", group.pairs)
    return made


def _diffusers(groups: Sequence[Group], trigger: str) -> dict[str, bytes]:
    """`train/metadata.jsonl` with file_name and text; `set` and `repeats` are further columns."""
    made: dict[str, bytes] = {}
    lines = []
    for group in groups:
        for pair in group.pairs:
            made[f"train/{pair.picture}"] = pair.data
            row: dict[str, object] = {"file_name": pair.picture, "text": pair.caption}
            row["set"] = group.name
            if group.repeats is not None:
                row["repeats"] = group.repeats
            lines.append(json.dumps(row, ensure_ascii=False))
    made["train/metadata.jsonl"] = ("\n".join(lines) + "\n").encode()
    return made


def _fal(groups: Sequence[Group], trigger: str) -> dict[str, bytes]:
    """Pairs of picture and text; with references `ROOT_start.png`, `ROOT_end.png`, `ROOT.txt`."""
    if not any(group.controls for group in groups):
        return _flat(groups)
    made: dict[str, bytes] = {}
    for pair in (p for g in groups for p in g.pairs):
        for number, control in enumerate(pair.controls, start=1):
            made[f"{pair.stem}_start{number if number > 1 else ''}.png"] = control
        made[f"{pair.stem}_end{pair.suffix}"] = pair.data
        made[f"{pair.stem}.txt"] = pair.caption.encode()
    return made


def zipped(files: Mapping[str, bytes]) -> bytes:
    """One zip, no folder above the files, the same bytes for the same files."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name in sorted(files):
            about = zipfile.ZipInfo(name, START_OF_ZIP)
            about.external_attr = 0o644 << 16
            kind = zipfile.ZIP_DEFLATED if name.endswith((".txt", ".jsonl")) else zipfile.ZIP_STORED
            about.compress_type = kind
            archive.writestr(about, files[name])
    return out.getvalue()
