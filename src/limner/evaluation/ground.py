"""What pictures are judged against: the character's own, strangers, and the control that ships.

In: a project with a dataset, the base. Out: a `Ground`. Looking at pictures is slow, so the looks
are kept beside the grid as .npz and read back as long as nothing changed.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from limner import vision
from limner.errors import MissingExtraError, NotReadyError
from limner.evaluation import details, identity
from limner.evaluation.details import Training
from limner.evaluation.identity import Judge, Kind, Look, Strangers
from limner.events import Event, Notice, Ticker
from limner.project import Project, files
from limner.project.records import Dataset, Measure, Take
from limner.vision.duplicates import Hashes, nearest
from limner.vision.duplicates import hashes as picture_hashes
from limner.vision.pictures import resize

if TYPE_CHECKING:
    from limner.evaluation.prompt import EvalPrompt
    from limner.models import BaseInfo

RGB8 = NDArray[np.uint8]
AXES = ("angle", "framing")
FEWEST_OF_A_KIND = 3
MOST_TRAINING = 24
"""Training pictures that are read for light, skin and background; more tell nothing new."""
ASSESSABLE = 0.5
"""An angle or framing is left out of the evaluation when at least 3 of the character's own pictures
show it and in more than half of them no face is found (starting value): nobody could be
recognised there."""


@dataclass(frozen=True)
class Ground:
    """The judge with the pictures behind it; takes stand in the judge's order."""

    judge: Judge
    strangers: Strangers
    references: list[Take]
    gallery: list[Take]
    looks: list[Look]
    """Of references, then gallery."""
    hashes: dict[int, Hashes]
    """Take id -> pHash of each training picture; empty where hashes cannot be made."""

    def copy_measure(self, picture: RGB8) -> Measure:
        """Bits between a picture and the nearest training picture, mirrored or not."""
        if not self.hashes:
            return Measure("copy_bits", None, "bits", "install limner[vision]", "phash-64")
        found = nearest(picture_hashes(picture), self.hashes)
        return Measure("copy_bits", float(found.bits) if found else None, "bits", None, "phash-64")

    def training(self, project: Project, side: int) -> Training:
        """What a render may repeat; the training pictures are read once more, for their light,
        skin and background. The embedder that knows more of the character's own pictures speaks."""
        names = self.judge.names
        trained = self.looks[len(self.references) :]
        found = []
        for take, seen in list(zip(self.gallery, trained, strict=True))[:MOST_TRAINING]:
            picture = at_size(project, take, side)
            face = seen.where  # gone when the look was read back from its file
            if seen.face and face is None:
                face = self.judge.look(picture).where
            found.append(details.read(picture, face))
        held_out = self.looks[: len(self.references)]
        return Training(found, trained, held_out, "drawn" if "drawn" in names else names[0])

    def record(self) -> dict[str, Any]:
        """What the grid's record keeps: anything here that changes makes another evaluation."""
        return {
            "kind": self.judge.kind,
            "smallest_face": self.judge.smallest_face,
            "tools": self.judge.tools,
            "references": [take.sha256 for take in self.references],
            "gallery": [take.sha256 for take in self.gallery],
            "strangers": self.strangers.n,
            "strangers_source": self.strangers.source,
        }

    def unseen(self, prompts: Sequence[EvalPrompt]) -> dict[tuple[str, str], tuple[int, int]]:
        """(axis, value) -> (faces found, pictures), where the detector finds too few: an angle
        turned too far, a framing that leaves too few pixels of face.

        An angle is judged by pictures of the framings that `prompts` ask for, and the other way
        round: that a far figure shows no face says nothing about how it is turned.
        """
        wanted = asked(prompts)
        counts: dict[tuple[str, str], list[bool]] = {}
        for take, seen in zip([*self.references, *self.gallery], self.looks, strict=True):
            for axis in AXES:
                others = [other for other in AXES if other != axis]
                if all(not wanted[o] or take.labels.get(o) in wanted[o] for o in others):
                    counts.setdefault((axis, str(take.labels.get(axis, ""))), []).append(seen.face)
        return {
            key: (sum(found), len(found))
            for key, found in counts.items()
            if key[1] and len(found) >= FEWEST_OF_A_KIND and sum(found) < ASSESSABLE * len(found)
        }


def asked(prompts: Sequence[EvalPrompt]) -> dict[str, set[str]]:
    """Axis -> values that prompts with a face ask for; empty when they name none."""
    shown = [p.attributes for p in prompts if p.face_visible]
    return {axis: {a[axis] for a in shown if a.get(axis)} for axis in AXES}


def find_takes(project: Project, dataset: Dataset) -> tuple[list[Take], list[Take]]:
    """(held-out references, training takes) whose pictures exist; what a label does not say is
    filled in from the shot."""
    shots = {shot.id: shot for shot in project.store.shots()}

    def take(number: int) -> Take | None:
        found = project.store.take(number)
        if found.path is None or not project.path(found.path).is_file():
            return None
        return replace(
            found, labels={**found.asked(shots[found.shot_id]).attributes, **found.labels}
        )

    held_out = [t for t in map(take, dataset.held_out) if t is not None]
    train = [t for t in map(take, dataset.train) if t is not None]
    return held_out, train


def prepare(
    project: Project,
    dataset: Dataset,
    info: BaseInfo,
    prompts: Sequence[EvalPrompt],
    folder: Path,
) -> Iterator[Event | Ground]:
    """Look at the character's own pictures; yields progress, last the `Ground`.

    The ceiling is measured on own pictures of the angles and framings that `prompts` ask for.
    Pictures are scaled to the size that will be judged. `folder`: where looks are kept. Raises
    NotReadyError without held-out references (asked for, not guessed), MissingExtraError.
    """
    references, gallery = find_takes(project, dataset)
    if not references:
        raise NotReadyError(
            "The dataset holds no reference pictures back, so nobody can be recognised",
            where=f"dataset v{dataset.version}",
            fix="Set dataset.held_out to at least 3 in character.yaml, build the dataset and "
            "train again; a picture that was trained on cannot be the judge.",
        )
    lost = len(dataset.held_out) + len(dataset.train) - len(references) - len(gallery)
    if lost:
        said = "1 of its pictures is" if lost == 1 else f"{lost} of its pictures are"
        yield Notice(
            f"Dataset {dataset.version} is judged by without what is gone: {said} not in takes/.",
            "warning",
        )
    kind: Kind = "drawing" if info.is_drawing else "photo"
    tools, missing = identity.usable_embedders(kind)
    for name, reason in missing.items():
        yield Notice(f"The embedder {name} is left out: {reason}.", "warning")
    names = tuple(tools)
    takes = [*references, *gallery]
    tag = files.sha256_bytes(
        files.canonical_json(
            [kind, info.resolution, info.smallest_face_px, tools, [t.sha256 for t in takes]]
        ).encode()
    )[:16]
    kept = folder / f"looks_{tag}.npz"
    looks = read_looks(kept, names)
    if looks is None or len(looks) != len(takes):
        looks, ticker = [], Ticker("looking at the references", len(takes))
        for take in takes:
            picture = at_size(project, take, info.resolution)
            looks.append(identity.look(picture, names, kind, info.smallest_face_px))
            yield ticker.tick()
        write_looks(kept, looks, names)
    wanted = asked(prompts)
    comparable = [
        all(not wanted[axis] or take.labels.get(axis) in wanted[axis] for axis in AXES)
        for take in takes
    ]
    if not any(comparable):  # prompts of the user's own making name no attributes
        comparable = [True] * len(takes)
    judge = Judge(
        names,
        kind,
        info.smallest_face_px,
        looks[: len(references)],
        looks[len(references) :],
        comparable,
    )
    strangers = shipped_strangers(kind, tools)
    hashed = training_hashes(project, gallery, info.resolution)
    yield Ground(judge, strangers, references, gallery, looks, hashed)


def training_hashes(project: Project, gallery: Sequence[Take], side: int) -> dict[int, Hashes]:
    """pHash of every training picture; empty without imagehash."""
    try:
        return {t.id: picture_hashes(at_size(project, t, side)) for t in gallery}
    except MissingExtraError:
        return {}


def at_size(project: Project, take: Take, side: int) -> RGB8:
    """A take's picture with its shorter side at most `side` pixels: what the model was taught."""
    picture = vision.open_picture(project.path(take.path or ""))
    scale = min(1.0, side / min(picture.shape[:2]))
    height, width = (max(1, round(v * scale)) for v in picture.shape[:2])
    return resize(picture, width, height)


def _data_file(name: str) -> Path:
    return Path(str(resources.files("limner.evaluation") / "data" / name))


def shipped_strangers(kind: Kind, tools: dict[str, str]) -> Strangers:
    """Faces of other characters that come with Limner, for pictures of this kind."""
    return identity.read_strangers(_data_file(f"strangers_{kind}.npz"), tools)


def shipped_control(info: BaseInfo) -> Path | None:
    """The LoRA of another character made for exactly this base, or None."""
    path = _data_file(f"control_{info.fingerprint[:16]}.safetensors")
    return path if path.is_file() else None


def write_looks(path: Path, looks: Sequence[Look], names: Sequence[str]) -> None:
    """Keep looks as arrays without objects; no face is NaN."""
    arrays: dict[str, Any] = {
        "face": np.array([s.face for s in looks]),
        "width": np.array([np.nan if s.width is None else s.width for s in looks]),
        "yaw": np.array([np.nan if s.yaw is None else s.yaw for s in looks]),
    }
    for name in names:
        size = next((len(s.vectors[name]) for s in looks if s.face), 1)
        blank = np.zeros(size, dtype=np.float32)
        arrays[f"vector_{name}"] = np.stack([s.vectors.get(name, blank) for s in looks])
    out = io.BytesIO()
    np.savez_compressed(out, **arrays)
    files.write_bytes(path, out.getvalue())


def read_looks(path: Path, names: Sequence[str]) -> list[Look] | None:
    """Looks as they were kept; None when there are none or the file is damaged."""
    try:
        with np.load(path, allow_pickle=False) as data:
            return [
                Look(
                    bool(face),
                    None if np.isnan(width) else float(width),
                    None if np.isnan(yaw) else float(yaw),
                    {n: data[f"vector_{n}"][i] for n in names} if face else {},
                )
                for i, (face, width, yaw) in enumerate(
                    zip(data["face"], data["width"], data["yaw"], strict=True)
                )
            ]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None


def usable_prompts(
    prompts: Sequence[EvalPrompt], ground: Ground
) -> tuple[list[EvalPrompt], list[dict[str, str]]]:
    """(prompts to draw, excluded ones with the reason): settled before anything is drawn."""
    unseen, used, excluded = ground.unseen(prompts), [], []
    for prompt in prompts:
        hit = next((k for k in unseen if prompt.attributes.get(k[0]) == k[1]), None)
        if not prompt.face_visible:
            excluded.append({"prompt_id": prompt.id, "reason": "the face is hidden"})
        elif hit is not None:
            found, n = unseen[hit]
            reason = f"{hit[0]} {hit[1]}: a face is found in {found} of {n} of the own pictures"
            excluded.append({"prompt_id": prompt.id, "reason": reason})
        else:
            used.append(prompt)
    return used, excluded
