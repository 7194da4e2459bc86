"""A project with kept takes of flat colours, and real bodies as the inbox leaves them."""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image

from limner.project import Project
from limner.project.files import sha256_bytes
from limner.project.records import Shot

ANGLES = ("front", "three_quarter", "side", "back")
FOLDER = "40_grace_char"


def new(root: Path, *, count: int = 20, captions: bool = True) -> Project:
    """A project with `count` kept takes of flat colours, a quarter of each angle."""
    project = Project.create(
        root, name="Grace", trigger="grace_char", class_word="woman", likeness="synthetic"
    )
    axes = {"framing": "close_up", "expression": "happy", "outfit": "navy_suit"}
    axes |= {"setting": "park", "lighting": "overcast", "pose": "relaxed", "camera": "sony_50"}
    shots = [
        Shot(f"shot_{n:03d}", n, {**axes, "angle": ANGLES[4 * (n - 1) // count]}, f"prompt {n}", n)
        for n in range(1, count + 1)
    ]
    project.store.replace_shots(shots)
    for shot in shots:
        out = io.BytesIO()
        Image.new("RGB", (32, 32), (shot.position, 90, 40)).save(out, "PNG")
        path = project.folder("takes") / f"{shot.id}_a1.png"
        path.write_bytes(out.getvalue())
        take = project.store.journal_take(shot.id, "atelier", shot.seed, {})
        project.store.update_take(
            take.id,
            state="done",
            path=project.relative(path),
            sha256=sha256_bytes(out.getvalue()),
            width=32,
            height=32,
        )
        project.store.decide(take.id, "keep", [], "rule")
        if captions:
            text = f"grace_char, caption of {shot.id}, a café"
            project.store.put_caption(take.id, text, "rule")
    return project


def add_bodies(project: Project, *, papers: bool = True) -> None:
    """Two real bodies as the inbox leaves them, the second with a caption by hand."""
    place = project.folder("takes/realism")
    rows = []
    for n in (1, 2):
        out = io.BytesIO()
        Image.new("RGB", (48, 64), (200, 150, n)).save(out, "PNG")
        (place / f"real_{n:03d}.png").write_bytes(out.getvalue())
        digest = sha256_bytes(out.getvalue())
        row = {"file": f"real_{n:03d}.png", "from": f"{n}.jpg", "kind": "realism"}
        row |= {"sha256": digest, "original_sha256": digest}
        row |= {"licence": "CC0, example.org", "consent": "release 2026-03" if papers else ""}
        rows.append({**row, "width": 48, "height": 64})
    (place / "pictures.json").write_text(json.dumps(rows))
    (place / "real_002.txt").write_text("legs, standing pose,\nnatural lighting\n")
