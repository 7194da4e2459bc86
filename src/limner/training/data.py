"""The training folder as a list of pictures with captions, sizes and hashes.

In: a project's dataset. Out: `Picture`s to train on and to hold out, and the buckets they fall in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from limner.errors import InputError, NotReadyError
from limner.project import Project
from limner.project.files import canonical_json, sha256_bytes, sha256_file
from limner.project.records import Dataset
from limner.training.order import Bucket

if TYPE_CHECKING:
    from PIL.Image import Image

ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
SIDE = 16
"""Sides are multiples of this: the autoencoder divides by 8, patches by 2."""


@dataclass(frozen=True)
class Picture:
    """One training picture. `width`, `height`: of the file. `face`: the face can be seen."""

    name: str
    path: Path
    caption: str
    sha256: str
    width: int
    height: int
    face: bool = True


def newest_dataset(project: Project) -> Dataset:
    """The newest dataset record. Raises NotReadyError when there is none."""
    found = project.store.dataset()
    if found is None:
        raise NotReadyError(
            "There is no training folder yet",
            where=str(project.root),
            fix="Build one with `limner dataset build`.",
        )
    return found


def read_dataset(project: Project, dataset: Dataset) -> tuple[list[Picture], list[Picture]]:
    """(pictures to train on, held-out pictures) of a dataset, in name order.

    Pictures lie in the recorded folder or in its `<number>_<name>` folders, held-out ones in
    `held_out` beside them. Raises InputError naming a picture without caption or one that cannot
    be read.
    """
    root = project.path(dataset.path)
    folders = [root]
    if not _pictures_in(root):
        folders = sorted(p for p in root.glob("*_*") if p.is_dir() and p.name != "held_out")
    faces = _faces(project)
    train = [p for folder in folders for p in _read_folder(folder, faces)]
    if not train:
        raise InputError(
            "The training folder holds no pictures",
            where=str(root),
            fix="Build it again with `limner dataset build`.",
        )
    beside = [root / "held_out", root.parent / "held_out"]
    held_folder = next((p for p in beside if p.is_dir()), None)
    held = _read_folder(held_folder, faces, need_caption=False) if held_folder else []
    return train, [p for p in held if p.caption]


def _pictures_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*") if p.suffix.lower() in ENDINGS)


def _faces(project: Project) -> dict[str, bool]:
    """Picture hash -> whether its shot shows the face."""
    shown = {shot.id: shot.face_visible for shot in project.store.shots()}
    takes = project.store.takes(state="done")
    return {t.sha256: shown.get(t.shot_id, True) for t in takes if t.sha256}


def _read_folder(
    folder: Path, faces: Mapping[str, bool], *, need_caption: bool = True
) -> list[Picture]:
    from PIL import Image, UnidentifiedImageError

    found = []
    for path in _pictures_in(folder):
        text = path.with_suffix(".txt")
        caption = text.read_text("utf-8").strip() if text.is_file() else ""
        if need_caption and not caption:
            raise InputError(
                f"{path.name} has no caption",
                where=str(text),
                fix="Run `limner captions compile` and `limner dataset build`.",
            )
        try:
            with Image.open(path) as picture:
                width, height = picture.size
        except (OSError, UnidentifiedImageError):
            raise InputError(
                f"{path.name} is no picture that can be read",
                where=str(path),
                fix="Build the dataset again, or replace the picture.",
            ) from None
        digest = sha256_file(path)
        name = f"{folder.name}/{path.stem}"
        found.append(Picture(name, path, caption, digest, width, height, faces.get(digest, True)))
    return found


def refuse_changed(dataset: Dataset, train: Sequence[Picture], held_out: Sequence[Picture]) -> None:
    """Raise InputError when pictures or captions are not those of the dataset's lock.

    The lock's hash goes into every checkpoint, so what is trained on must be what it lists.
    """
    listed = {f["path"]: f["sha256"] for f in dataset.lock.get("files", [])}
    changed = []
    for picture in (*train, *held_out):
        own = f"{picture.path.parent.name}/{picture.path.name}"
        text = picture.path.with_suffix(".txt")
        for path, digest in ((own, picture.sha256), (f"{picture.name}.txt", _text_hash(text))):
            if listed and listed.get(path) != digest:
                changed.append(path)
    if changed:
        raise InputError(
            f"{len(changed)} files are not as dataset {dataset.version} was built "
            f"({', '.join(changed[:3])})",
            where=dataset.path,
            fix="Run `limner captions compile` and `limner dataset build` for a next version.",
        )


def _text_hash(path: Path) -> str:
    return sha256_file(path) if path.is_file() else ""


def data_sha256(train: Sequence[Picture], held_out: Sequence[Picture]) -> str:
    """One hash over all pictures and captions: another hash, another run."""
    rows = [[p.name, p.sha256, p.caption] for p in (*train, *held_out)]
    return sha256_bytes(canonical_json(rows).encode())


def bucket_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    """(width, height) to train at: aspect kept, area at most resolution squared, never enlarged.

    Sides are multiples of 16 and at least 16.
    """
    scale = min(1.0, math.sqrt(resolution * resolution / (width * height)))

    def side(value: float) -> int:
        return max(SIDE, round(value / SIDE) * SIDE)

    return side(width * scale), side(height * scale)


def buckets(pictures: Sequence[Picture], resolution: int) -> list[Bucket]:
    """Pictures by training size, largest group first."""
    groups: dict[tuple[int, int], list[int]] = {}
    for index, picture in enumerate(pictures):
        size = bucket_size(picture.width, picture.height, resolution)
        groups.setdefault(size, []).append(index)
    ordered = sorted(groups.items(), key=lambda g: (-len(g[1]), g[0]))
    return [Bucket(width, height, tuple(items)) for (width, height), items in ordered]


def load(path: Path, width: int, height: int) -> Image:
    """A picture as RGB at exactly width x height: scaled to cover, cut at the middle.

    Transparency is laid on white; Lanczos with antialiasing.
    """
    from PIL import Image, ImageOps

    with Image.open(path) as source:
        picture = ImageOps.exif_transpose(source)
        if picture.mode in ("RGBA", "LA", "P"):
            picture = picture.convert("RGBA")
            ground = Image.new("RGBA", picture.size, (255, 255, 255, 255))
            picture = Image.alpha_composite(ground, picture)
        return ImageOps.fit(picture.convert("RGB"), (width, height), Image.Resampling.LANCZOS)


def references(pictures: Sequence[Picture], each: int, seed: int) -> list[list[int]]:
    """Edit template: for every picture up to `each` others of the character to show beside it.

    Others with a visible face come first (a back view tells little about who it is), each in an
    order drawn from (seed, picture). Raises InputError when there is only one picture.
    """
    from limner.training.order import counter_seed

    if len(pictures) < 2:
        raise InputError(
            "The edit template needs at least two pictures: one is the reference of the other",
            where="character.yaml, training.template",
            fix="Add pictures, or set training.template to t2i.",
        )
    found = []
    for index, picture in enumerate(pictures):
        others = [i for i, p in enumerate(pictures) if p.sha256 != picture.sha256]
        others = others or [i for i in range(len(pictures)) if i != index]
        others.sort(key=lambda i: (not pictures[i].face, counter_seed(seed, "reference", index, i)))
        found.append(others[:each])
    return found
