"""The atelier as a source: exact drawings of one built-in 3D character, with exact labels.

In: who to draw. Out: PNG drawings, marked as drawings in the file itself. With `processes` the work
runs in child processes, which end when this one does, however it ends.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import queue
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from limner.errors import InputError, WorkFailedError
from limner.sources.source import Note, Order, Picture, Price, Request

if TYPE_CHECKING:
    from limner.atelier import Character, Identity
    from limner.project.settings import Character as CharacterSettings

DRAWING = "A drawing of a made-up character, no photograph"
"""What every file of the atelier says of itself."""

AGE_OF_TRAIT = {"young": 27, "middle_aged": 48}
"""Years drawn for the lexicon's age trait when no number is given."""


def identity_of(character: CharacterSettings) -> Identity:
    """Who the atelier draws for a character.yaml: traits win, then description, then the seed.

    Raises InputError for a trait the lexicon does not have.
    """
    from limner.atelier import identity_from_description
    from limner.lexicon import traits

    seed = character.source.identity_seed
    if seed is None:
        digest = hashlib.blake2b(character.name.encode(), digest_size=4).digest()
        seed = int.from_bytes(digest, "big") >> 1
    found = identity_from_description(f"{character.class_word}. {character.description}", seed)
    known = traits()
    overrides: dict[str, Any] = {}
    for trait, value in character.traits.items():
        if value not in known.get(trait, {}):
            options = ", ".join(known.get(trait, known))
            raise InputError(
                f"traits.{trait}: the atelier cannot draw {value!r}",
                where="character.yaml: traits",
                fix=f"Use one of: {options}",
            )
        overrides[trait] = AGE_OF_TRAIT[value] if trait == "age" else value
    return replace(found, **overrides)


class AtelierSource:
    """Draws one identity. processes: 0 draws here, more draws in so many child processes."""

    name = "atelier"
    at_once: int | None = None

    def __init__(self, identity: Identity, *, processes: int = 0) -> None:
        self.identity = identity
        self._character: Character | None = None
        self._idle: queue.Queue[_Child | None] = queue.Queue()
        self._children: list[_Child] = []
        for _ in range(processes):
            self._idle.put(None)
        self._processes = processes

    def abilities(self) -> dict[str, tuple[str, ...]]:
        """Axis -> ids that can be drawn."""
        from limner.atelier import abilities

        return abilities()

    def remarks(self) -> list[str]:
        """Who is drawn: of a description only some English words are read, and people only."""
        return [f"The atelier draws {self.identity.in_words()}; `traits` in character.yaml rule."]

    def order(self, request: Request) -> Order:
        """Nothing to remember: the same request gives the same drawing."""
        return {}

    def prices(self, orders: Sequence[Order]) -> list[Price] | None:
        """Drawing costs nothing."""
        return None

    def make(self, request: Request, order: Order, note: Note) -> list[Picture]:
        """Draw one picture. Raises LimnerError."""
        if not self._processes:
            return [self._draw(request)]
        child = self._idle.get()
        try:
            if child is None or not child.alive():
                child = _Child(self.identity.as_dict())
                self._children.append(child)
            return [child.ask(request)]
        finally:
            self._idle.put(child)

    def _draw(self, request: Request) -> Picture:
        from limner.atelier import Character

        if self._character is None:
            self._character = Character(self.identity)
        return draw(self._character, request)

    def stop(self) -> None:
        """A drawing takes a second: it is waited for."""

    def close(self) -> None:
        """End the child processes."""
        for child in self._children:
            child.close()
        self._children.clear()


def draw(character: Character, request: Request) -> Picture:
    """One drawing as PNG with its labels; same request, same bytes."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from limner.atelier import RENDERER_VERSION, scene_for

    scene = scene_for(request.attributes, request.seed)
    if variant := request.attributes.get("expression_variant"):
        scene = replace(scene, expression_variant=int(variant))
    drawing = character.draw(scene, request.size)
    marks = PngInfo()
    marks.add_text("Software", f"Limner atelier {RENDERER_VERSION}")
    marks.add_text("Description", DRAWING)
    out = io.BytesIO()
    Image.fromarray(drawing.image).save(out, "PNG", pnginfo=marks)
    height, width = drawing.image.shape[:2]
    labels = {**drawing.labels.as_dict(), "drawing": True}
    labels["expression_variant"] = scene.expression_variant
    return Picture(out.getvalue(), width, height, labels)


class _Child:
    """One process that draws: a JSON line in, a JSON line out; it ends when its input ends."""

    def __init__(self, identity: dict[str, Any]) -> None:
        env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "limner.sources.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
            process_group=0,  # Ctrl-C is the parent's to hear; a child ends when its input ends
        )
        with suppress(OSError):  # a child that is dead already says so when it is asked
            self._send({"identity": identity})

    def alive(self) -> bool:
        return self._process.poll() is None

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def ask(self, request: Request) -> Picture:
        assert self._process.stdout is not None
        try:
            self._send(request.as_dict())
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        if not line:
            raise WorkFailedError(
                "The drawing process ended without an answer",
                where=f"exit code {self._process.poll()}",
                fix="Run the same command again; if memory is short, use --workers 1.",
            )
        answer = json.loads(line)
        if "error" in answer:
            raise WorkFailedError(answer["error"], where=request.shot_id)
        png = base64.b64decode(answer["png"])
        return Picture(png, answer["width"], answer["height"], answer["labels"])

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
