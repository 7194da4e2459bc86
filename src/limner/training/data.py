"""The training folder as a list of pictures with captions, sizes and hashes.

In: a project's dataset. Out: `Picture`s to train on and to hold out, and the buckets they fall in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
EVEN_FROM = 256
"""From this resolution on sides are multiples of 32, as in other trainers for Qwen-Image: where a
side has an odd number of tokens, diffusers and ComfyUI centre the positions one token apart."""


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
    own: bool = True
    """It shows the character; False: a real body that is there for its skin and shape."""
    weight: int = 1
    """Passes it gets for one of the least shown pictures: the ratio of the folders' numbers."""


BLANK = Picture("blank", Path(), "", "blank", 0, 0)
"""A black picture to show where there is none of the character."""
BODIES = "_realbody"
"""How the folder of real bodies ends, as the dataset stage and the guide name it."""


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
    `held_out` beside them. Where there are several folders, their numbers set how often a picture
    of one comes against a picture of another. Raises InputError naming a picture without caption
    or one that cannot be read.
    """
    root = project.path(dataset.path)
    folders = [root]
    if not _pictures_in(root):
        folders = sorted(p for p in root.glob("*_*") if p.is_dir() and p.name != "held_out")
    faces = _faces(project)
    weights = _weights([f.name for f in folders])
    train = [
        replace(p, weight=weight, own=not folder.name.endswith(BODIES))
        for folder, weight in zip(folders, weights, strict=True)
        for p in _read_folder(folder, faces)
    ]
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


def _weights(names: Sequence[str]) -> list[int]:
    """`40_grace`, `20_grace_realbody` -> 2, 1; only the ratio counts, so one folder gives 1."""
    numbers = [int(n.split("_")[0]) if n.split("_")[0].isdigit() else 1 for n in names]
    numbers = [max(n, 1) for n in numbers]
    common = math.gcd(*numbers)
    return [n // common for n in numbers]


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
    rows: list[list[Any]] = [[p.name, p.sha256, p.caption] for p in (*train, *held_out)]
    if any(p.weight != 1 for p in train):
        rows.append([p.weight for p in train])
    return sha256_bytes(canonical_json(rows).encode())


def bucket_size(width: int, height: int, resolution: int) -> tuple[int, int]:
    """(width, height) to train at: aspect kept, area at most resolution squared, never enlarged.

    Sides are multiples of 16 and at least 16; from 256 px on multiples of 32 (see EVEN_FROM).
    """
    scale = min(1.0, math.sqrt(resolution * resolution / (width * height)))
    unit = 2 * SIDE if resolution >= EVEN_FROM else SIDE

    def side(value: float) -> int:
        return max(unit, round(value / unit) * unit)

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


def shown(picture: Picture, width: int, height: int) -> Image:
    """A picture to show beside another, at exactly width x height; BLANK is black."""
    if picture is BLANK:
        from PIL import Image

        return Image.new("RGB", (width, height))
    return load(picture.path, width, height)


def references(pictures: Sequence[Picture], each: int, seed: int) -> list[list[int]]:
    """Self-reference: for every picture up to `each` others of the character to show beside it.

    Others with a visible face come first (a back view tells little about who it is), each in an
    order drawn from (seed, picture). Raises InputError when there is only one picture.
    """
    from limner.training.order import counter_seed

    own = [i for i, p in enumerate(pictures) if p.own]
    if len(own) < 2:
        raise InputError(
            "Self-reference needs at least two pictures: one is the reference of the other",
            where="character.yaml, training.control",
            fix="Add pictures, set training.control to blank or none, or training.template to t2i.",
        )
    found = []
    for index, picture in enumerate(pictures):
        others = [i for i in own if pictures[i].sha256 != picture.sha256]
        others = others or [i for i in own if i != index]
        others.sort(key=lambda i: (not pictures[i].face, counter_seed(seed, "reference", index, i)))
        found.append(others[:each])
    return found


Shown = tuple[Picture, ...]
"""What is shown beside a picture in one pass."""


def controls(
    train: Sequence[Picture],
    held_out: Sequence[Picture],
    *,
    control: str,
    pictures: int,
    each: int,
    seed: int,
) -> tuple[list[list[Shown]], list[list[Shown]]]:
    """What may be shown beside every picture to train on, and beside every held-out one.

    One entry a picture: its choices, each with `pictures` pictures; a pass draws one of them. No
    entry is empty: without control the one choice shows nothing. Choice k of self-reference is
    the k-th picture of `references` and those that follow it in that order, round and round.
    A real body has no picture of its own person: it is shown with black ones. A held-out picture
    is shown with training pictures, never the other way round.
    """
    if control == "none":
        return [[()] for _ in train], [[()] for _ in held_out]
    black: list[Shown] = [(BLANK,) * pictures]
    if control == "blank":
        return [black for _ in train], [black for _ in held_out]
    choices: list[list[Shown]] = []
    for picture, others in zip(train, references(train, max(each, pictures), seed), strict=True):
        ring = [others[k % len(others)] for k in range(each + pictures)]
        number = min(each, len(others))
        own = [tuple(train[i] for i in ring[k : k + pictures]) for k in range(number)]
        choices.append(own if picture.own else black)
    own_pictures = [p for p in train if p.own]
    front = [p for p in own_pictures if p.face] or own_pictures
    fixed: Shown = tuple(front[k % len(front)] for k in range(pictures))
    return choices, [[fixed] for _ in held_out]
