"""Finding faces: dlib for photographs, dlib and Limner's own finder together for drawings.

In: a picture, its kind, the smallest face worth finding. Out: `Face`s, largest first. Beyond a
head turn of about 55 degrees dlib finds little; "no face" then says nothing about the picture.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from limner.vision import dlib_faces, finder
from limner.vision.face import Face, Point
from limner.vision.pictures import RGB8, resize

Kind = Literal["drawing", "photo"]
"""What kind of pictures a source or a base model makes."""
SMALLEST_FACE = 24.0
"""Starting value in pixels; the limit belongs to the source and is handed in."""


HOG_SIDE = {"drawing": 512, "photo": 1280}
"""Longest side dlib's HOG works on; for drawings the finder looks after small faces."""


def available(kind: Kind = "photo") -> str | None:
    """None when faces of this kind of picture can be found here, else the reason in words."""
    reasons = [dlib_faces.available()]
    if kind == "drawing":
        reasons.append(finder.available())
    return None if None in reasons else reasons[0]


def find_faces(
    image: RGB8,
    *,
    kind: Kind = "drawing",
    smallest_face: float = SMALLEST_FACE,
    thorough: bool = True,
) -> list[Face]:
    """Faces at least `smallest_face` pixels wide, largest first.

    Drawings: dlib's HOG counts the faces, Limner's finder sets points and head turn, and finds
    turned heads that HOG misses (either alone does when the other is not installed). Photographs:
    HOG, then the CNN where HOG finds nothing (`thorough`; 0.4 s). Raises MissingExtraError.
    """
    own = kind == "drawing" and finder.available() is None
    if own and dlib_faces.available() is not None:
        hits = []
    else:
        hits = dlib_faces.boxes(
            image,
            smallest_face=smallest_face,
            thorough=thorough and not own,
            side=HOG_SIDE["drawing" if own else "photo"],
        )
    if not own:
        faces = [dlib_faces.face_at(image, hit) for hit in hits]
    else:
        faces = _drawn(image, hits, smallest_face)
    return sorted(faces, key=lambda face: -face.width)


def others(
    image: RGB8, found: list[Face], *, kind: Kind = "drawing", smallest_face: float = SMALLEST_FACE
) -> list[Face]:
    """Further faces of a drawing that dlib's HOG did not count (turned heads); photographs: none.

    The finder sees one face a view: it looks again at the halves of the picture beside and above
    the main face, and what overlaps a known face is dropped.
    """
    if kind != "drawing" or len(found) != 1 or finder.available() is not None:
        return []
    scale = min(1.0, OTHERS_SIDE / max(image.shape[:2]))
    small = image
    if scale < 1.0:
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        small = resize(image, *size)
    x0, _, x1, _ = (v * scale for v in found[0].box)
    gap, least = 0.195 * (x1 - x0), scale * smallest_face
    more: list[Face] = []
    for left, right in ((0, int(x0 - gap)), (int(x1 + gap), small.shape[1])):
        if right - left < 2 * least:
            continue
        face = finder.find_drawn_face(small[:, left:right])
        if face is not None and face.score >= SURE_OTHER and face.width >= least:
            more.append(_whole(face, left, scale))
    return more


OTHERS_SIDE = 512
"""Longest side of the copy that further faces are looked for in."""
SURE_OTHER = 0.9
"""Least probability of a second face found by the finder alone (starting value)."""


def _whole(face: Face, left: float, scale: float) -> Face:
    """A face found in a part that begins at `left`, in pixels of the whole picture."""

    def at(point: Point) -> Point:
        return (point[0] + left) / scale, point[1] / scale

    x0, y0, x1, y1 = face.box
    mouth = face.mouth
    return replace(
        face,
        box=(*at((x0, y0)), *at((x1, y1))),
        eyes=(at(face.eyes[0]), at(face.eyes[1])),
        nose=at(face.nose),
        mouth=None if mouth is None else (at(mouth[0]), at(mouth[1])),
    )


def _drawn(image: RGB8, hits: list[dlib_faces.Hit], smallest: float) -> list[Face]:
    found = []
    for hit in hits:
        face = finder.find_drawn_face(image, hit[0])
        if face is not None:
            found.append(replace(face, dlib_box=hit[0]))
        elif len(hits) == 1:  # HOG sees faces in foliage: alone, it is believed
            found.append(dlib_faces.face_at(image, hit))
    if found:
        return found
    face = finder.find_drawn_face(image)
    return [face] if face is not None and face.width >= smallest else []
