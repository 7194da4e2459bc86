"""The atelier: draws one consistent 3D person again and again, with exact labels. Drawings, never
photographs.

1. An `Identity` is a person's constants; a `Scene` is one picture's variables; both are plain
   numbers and ids.
2. `Character(identity)` builds mesh, skin and hair once; `.draw(scene, size)` rasterises, shades
   and labels.
3. `scene_for(attributes, seed)` turns the lexicon's words into a scene; every value of the lexicon
   can be drawn.
4. numpy and Pillow only; the same identity, scene and size give the same bytes
   (`RENDERER_VERSION`).
5. Everybody is an adult (22 to 65) and always dressed.
"""

from limner.atelier.character import Character, Drawing
from limner.atelier.identity import (
    Identity,
    blend,
    identity_from_description,
    identity_from_seed,
)
from limner.atelier.labels import POINTS, RENDERER_VERSION, Labels
from limner.atelier.scene import Scene, abilities, scene_for
from limner.atelier.sheet import sheet

__all__ = [
    "POINTS",
    "RENDERER_VERSION",
    "Character",
    "Drawing",
    "Identity",
    "Labels",
    "Scene",
    "abilities",
    "blend",
    "identity_from_description",
    "identity_from_seed",
    "scene_for",
    "sheet",
]
