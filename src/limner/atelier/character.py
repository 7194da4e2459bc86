"""A character: built once from an identity, then drawn in any number of scenes.

In: `Identity`, `Scene`, size. Out: `Drawing`: picture, part mask and exact labels. Same input,
same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from limner.atelier import camera as cameras
from limner.atelier import (
    clothes,
    expression,
    gather,
    geometry,
    hair,
    labels,
    lights,
    mesh,
    scenery,
    shade,
    skin,
)
from limner.atelier import pose as poses
from limner.atelier.field import Field
from limner.atelier.identity import Identity, generator, morphs
from limner.atelier.mesh import F32, I64, U8, unit
from limner.atelier.scene import Scene
from limner.errors import UsageError
from limner.lexicon import Outfit

Look = tuple[Outfit, str, str, int]
"""Outfit, setting id, lighting id and seed: what may change while the geometry stays."""

SIZES = (32, 2048)
SMALL, MEDIUM = 160, 320
"""Picture sides in px up to which less detail is drawn (nothing that shows at that size)."""
TEETH_BACK = 0.09
"""How far (dm) the teeth are set back from where the base mesh has them."""
BLUR = {"close_up": 0.016, "half_body": 0.011, "cowboy": 0.008, "full_body": 0.006}
"""Depth blur of the background by framing, share of the height."""


@dataclass(frozen=True)
class Drawing:
    """image (H,W,3) and mask (H,W) of part ids (`labels.parts`), both uint8."""

    image: U8
    mask: U8
    labels: labels.Labels


@dataclass(frozen=True)
class _Stage:
    """The figure posed before a camera: all that looks have in common."""

    posed: poses.Posed
    normals: F32
    camera: cameras.Camera
    tufts: tuple[geometry.Tuft, ...]
    person: gather.Person
    size: int


class Character:
    """One person. Building takes about half a second; drawing reuses everything built."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        shaped = mesh.rest().copy()
        for name, weight in morphs(identity).items():
            mesh.add_target(shaped, name, weight)
        mesh.refine(shaped)
        self._shaped = shaped
        self._shift = mesh.head_shift(shaped)
        field = Field(shaped)
        self._hair = hair.grow(identity, shaped, field)
        self._cloth_room = geometry.room_under_cloth(shaped, field)
        self._brows = hair.brows(identity, shaped)
        self._beard = hair.beard(identity, shaped)
        self._crown = hair.crown(self._hair, shaped)
        self._skins: dict[int, skin.Skin] = {}

    @property
    def shape(self) -> F32:
        """The person's vertices (N,3) in dm at rest, without an expression."""
        return self._shaped

    def draw(self, scene: Scene, size: int = 512, supersample: int | None = None) -> Drawing:
        """Draw one scene as a `size` x `size` picture; `supersample` 1 to 4, 2 by default."""
        look = (scene.outfit, scene.setting, scene.lighting, scene.seed)
        return self.draw_variants(scene, [look], size, supersample)[0]

    def draw_variants(
        self, scene: Scene, looks: Sequence[Look], size: int = 512, supersample: int | None = None
    ) -> list[Drawing]:
        """Draw one scene in several looks, in order; geometry is shared where garment shapes agree.

        The scene's own outfit, setting and lighting are replaced; its seed still moves the body,
        each look's seed the place and the folds.
        """
        if not SIZES[0] <= size <= SIZES[1]:
            raise UsageError(f"a drawing of {size} px is outside {SIZES[0]} to {SIZES[1]} px")
        stage = self._stage(scene, size, supersample or 2)
        drawn: dict[int, Drawing] = {}
        shapes: dict[object, list[int]] = {}
        for number, look in enumerate(looks):
            shapes.setdefault(geometry.shape_key(look[0]), []).append(number)
        for members in shapes.values():
            outfit = looks[members[0]][0]
            solids = geometry.dressed(stage.posed.vertices, stage.normals, outfit, self._cloth_room)
            parts = geometry.Parts(solids, stage.tufts)
            buffer, screens = parts.draw(
                stage.camera.project, stage.camera.size, stage.camera.scale
            )
            surfaces = gather.gather(
                buffer, parts, screens, stage.normals, stage.camera, stage.person
            )
            shadows: dict[str, shade.Shadow] = {}
            bare = surfaces.normal.copy()
            for number in members:
                surfaces.normal = bare.copy()
                drawn[number] = self._look(
                    scene, looks[number], stage, parts, buffer, surfaces, shadows
                )
        return [drawn[number] for number in range(len(looks))]

    def _skin(self, size: int) -> skin.Skin:
        detail = 256 if size <= SMALL else 512 if size <= MEDIUM else 1024
        if detail not in self._skins:
            self._skins[detail] = skin.paint(self.identity, detail)
        return self._skins[detail]

    def _stage(self, scene: Scene, size: int, supersample: int) -> _Stage:
        expressed = self._shaped.copy()
        units = expression.face_units(scene.expression, scene.expression_variant, scene.gaze)
        for name, weight in units.items():
            mesh.add_target(expressed, name, weight)
        # Faces are morphed further than teeth are: set them back, or they come through the lips.
        expressed[mesh.surface("teeth").vertices, 2] -= np.float32(TEETH_BACK)
        posed = poses.pose(self._shaped, expressed, scene)
        normals = np.zeros_like(posed.vertices)
        for name in mesh.SURFACES:
            mesh.add_normals(posed.vertices, name, normals)
        camera = cameras.place(posed, self._shaped, self._crown, scene, size * supersample)
        return _Stage(
            posed,
            normals,
            camera,
            self._tufts(posed, size, scene),
            self._person(posed, scene, size),
            size,
        )

    def _tufts(self, posed: poses.Posed, size: int, scene: Scene) -> tuple[geometry.Tuft, ...]:
        """Strands at the density the picture can show: small pictures get fewer, thicker ones."""
        far = {"close_up": 1.0, "half_body": 0.62, "cowboy": 0.45, "full_body": 0.35}[scene.framing]
        share = min(1.0, max(0.10, (size / 512) ** 0.9 * far))
        own = self._hair
        n = max(300, int(len(own.points) * share))
        n = min(n, len(own.points))
        skip = 1 if size * far > MEDIUM or own.points.shape[1] != 20 else 2
        picked = own.points[:n, _every(own.points.shape[1], skip)]
        widen = np.float32(min(2.6, (len(own.points) / n) ** 0.62))
        tufts = [
            geometry.Tuft(
                "hair",
                "hair",
                hair.carry(picked, posed, self._shift),
                own.thickness[:n] * widen,
                own.shade[:n],
            ),
        ]
        for name, bound in (("brows", self._brows), ("beard", self._beard)):
            if bound is None:
                continue
            m = max(60, int(len(bound.shade) * min(1.0, 2 * share)))
            thin = hair.Bound(
                bound.corners[:m], bound.weights[:m], bound.offsets[:m], bound.shade[:m],
                bound.thickness[:m] * np.float32(min(2.5, len(bound.shade) / m) ** 0.6),
            )  # fmt: skip
            tufts.append(
                geometry.Tuft(name, name, hair.ride(thin, posed), thin.thickness, thin.shade, 0.02)
            )
        lash = hair.lashes(posed)
        even = np.ones(len(lash), np.float32)
        tufts.append(geometry.Tuft("lashes", "lashes", lash, even * 0.006, even, 0.02))
        return tuple(tufts)

    def _person(self, posed: poses.Posed, scene: Scene, size: int) -> gather.Person:
        turn = posed.head[:3, :3]
        away = float(generator(scene.seed, "gaze").choice([-1.0, 1.0]))
        yaw, pitch = expression.eye_angles(scene.gaze, scene.yaw, scene.pitch, away)
        way = (
            poses.rotation("y", yaw) @ poses.rotation("x", pitch) @ np.array([0, 0, 1], np.float32)
        )
        centres = [
            posed.vertices[mesh.group_vertices(f"helper-{s}-eye")].mean(0) for s in ("r", "l")
        ]
        ways = np.stack([turn @ way, turn @ way])
        identity = self.identity
        return gather.Person(
            self._skin(size),
            np.array(skin.IRIS[identity.eyes], np.float32),
            np.array(skin.HAIR[identity.hair_color], np.float32),
            skin.fuzz(identity),
            np.stack(centres),
            unit(ways),
            posed.head,
            np.array([0, 7.35, 0.35], np.float32) + self._shift,
            self._shift,
        )

    def _look(
        self, scene: Scene, look: Look, stage: _Stage, parts: geometry.Parts, buffer: I64,
        surfaces: gather.Surfaces, shadows: dict[str, shade.Shadow],
    ) -> Drawing:  # fmt: skip
        outfit, setting, lighting, seed = look
        camera, size = stage.camera, stage.size
        rig = lights.rig(lighting)
        if lighting not in shadows:
            cells = int(min(640, max(160, size * 1.25)))
            shadows[lighting] = shade.cast(parts, rig, camera, cells)
        pieces = {f"cloth{k}": p for k, p in enumerate(clothes.cut(outfit).layers())}
        shade.dress(surfaces, pieces, seed)
        colour = shade.light(surfaces, rig, shadows[lighting], camera)
        horizon = {"close_up": 0.52, "half_body": 0.45, "cowboy": 0.42, "full_body": 0.40}[
            scene.framing
        ]
        background = scenery.paint(
            setting, lighting, size, size, seed, horizon, BLUR[scene.framing]
        )
        image, mask = shade.develop(surfaces, colour, background, size, seed)
        shown = replace(scene, outfit=outfit, setting=setting, lighting=lighting, seed=seed)
        truth = labels.measure(self.identity, shown, stage.posed, camera, buffer, mask, size)
        return Drawing(image, mask, truth)


def _every(count: int, skip: int) -> list[int]:
    """Every `skip`-th point of a strand, always with its tip."""
    picked = list(range(0, count, skip))
    return picked if picked[-1] == count - 1 else [*picked, count - 1]
