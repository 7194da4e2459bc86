"""Advice reads what the evaluation really writes: every name it asks for is one that is there."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.conftest import PROMPTS, Painter, painter, project, reading
from fakes.chat import ChatServer
from limner import evaluation
from limner.advice import advise, looking
from limner.advice.records import Picture, Records
from limner.evaluation.choices import Choices
from limner.evaluation.testsets import WRONG
from limner.events import collect
from limner.project import Project
from limner.render import Cell

__all__ = ["painter", "project", "reading"]  # the evaluation's own fixtures


class Fries(Painter):
    """The LoRA burns out the colours of whatever it draws."""

    def pictures(self, cells: Sequence[Cell]) -> Iterator[tuple[Cell, Any]]:
        for cell, picture in super().pictures(cells):
            if cell.lora is not None:
                picture[2:, :, 0], picture[2:, :, 1:] = 255, 0
            else:
                picture[2:] = (90, 110, 130)
            yield cell, np.asarray(picture)


def answer(body: dict[str, Any]) -> str:
    """No to every question where the picture is burnt; else yes, but for the control."""
    part, text = body["messages"][0]["content"]
    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
    with Image.open(io.BytesIO(data)) as picture:
        red, green, _ = picture.convert("RGB").getpixel((16, 24))  # type: ignore[misc]
    said = []
    for line in text["text"].splitlines()[1:]:
        number, _, question = line.partition(". ")
        right = question not in WRONG and red < green
        said.append(f"{number}: {'yes' if right else 'no'}")
    return "\n".join(said)


class Noting(dict[str, Any]):
    """A mapping that remembers what it was asked for."""

    def __init__(self, given: dict[str, Any], asked: set[str]) -> None:
        super().__init__(given)
        self.asked = asked

    def get(self, key: str, default: Any = None) -> Any:
        self.asked.add(key)
        return super().get(key, default)

    def __getitem__(self, key: str) -> Any:
        self.asked.add(key)
        return super().__getitem__(key)


def test_every_name_that_advice_asks_for_is_written_by_the_evaluation(
    project: Project, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    frying = Fries(painter.likeness)
    with ChatServer(answer) as server:
        monkeypatch.setenv("LIMNER_LLM_URL", server.url)
        choices = Choices(tests=("variety",), ask=True)
        made = evaluation.evaluate(
            project, prompts=PROMPTS, open_renderer=frying.open, choices=choices
        )
        collect(made)
    verdict = collect(evaluation.verdict(project))

    scores: set[str] = set()
    rows: set[str] = set()
    keys: set[str] = set()
    value, row, init = Picture.value, looking._row, Records.__init__

    def noting(self: Records, *given: Any, **more: Any) -> None:
        init(self, *given, **more)
        self.data = Noting(self.data, keys)

    monkeypatch.setattr(Picture, "value", lambda p, name: (scores.add(name), value(p, name))[1])
    monkeypatch.setattr(looking, "_row", lambda r, key: (rows.add(key), row(r, key))[1])
    monkeypatch.setattr(Records, "__init__", noting)
    found = advise(project)

    claimed = [
        r
        for r in project.store.renders(1)
        if (r.phase, r.arm) == ("claim", verdict["checkpoint"]) and r.seed < 20_000 + 16
    ]
    written = set.intersection(*(set(project.store.scores(r.id)) for r in claimed))
    assert {"copy_bits", "yaw", "background_similarity", "chroma", "clipped"} <= scores
    assert scores <= written, scores - written
    assert {"skin_z", "copy_index", "diversity_ratio", "chroma_ratio"} <= rows
    measured = {m["key"] for m in verdict["measures"]}
    assert rows | {"proportion_head"} <= measured, rows - measured
    assert {"ceiling", "far_upper", "untriggered_hits", "base_interval", "strength"} <= keys
    assert keys <= set(verdict), keys - set(verdict)

    symptoms = {s["id"]: s for s in found["symptoms"]}
    assert "frying" in found["found"], symptoms["frying"]
    assert "trigger_leakage" in found["found"]  # this painter needs no trigger word
    facts = {f["id"]: f for s in symptoms.values() for f in s["evidence"]}
    assert facts["chroma_ratio"]["holds"] and facts["clipped_difference"]["holds"]
    assert "diversity_ratio" in facts and "copies" in facts
    assert facts["follows_questions"]["holds"] and facts["follows_questions"]["value"] < -0.9
