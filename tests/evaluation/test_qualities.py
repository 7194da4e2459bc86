"""Qualities of the winner: what is read off its pictures beside the training pictures'."""

from __future__ import annotations

from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from limner.evaluation.arms import BASE, Arm
from limner.evaluation.qualities import Seen, rows
from limner.evaluation.rules import rules
from limner.project.records import Measure, Render

CHOSEN = Arm(100, 1.0)


def drawn(number: int, scale: int, contrast: float) -> tuple[Render, dict[str, Measure]]:
    told = {"arm": CHOSEN.name, "strength": 1.0, "prompt_id": f"p{number % 6}", "seed": number}
    known = {"id": number, "step": 100, "state": "done", **told}
    render = Render(**{f.name: known.get(f.name, "") for f in fields(Render)})
    values = {"skin_scale": float(scale), "skin_2_4": contrast}
    return render, {name: Measure(name, value) for name, value in values.items()}


def skin(renders: list[tuple[int, float]], training: list[tuple[int, float]]) -> dict[str, object]:
    scored = [drawn(n, scale, contrast) for n, (scale, contrast) in enumerate(renders)]
    own = {"skin_scale": [float(s) for s, _ in training], "skin_2_4": [v for _, v in training]}
    found = rows(Seen(scored, CHOSEN, own), {}, None, rules())
    return next(row for row in found if row["key"] == "skin_z")


def test_skin_is_compared_at_one_size_of_faces() -> None:
    rng = np.random.default_rng(2)
    # nearer faces show finer grain: mixed, either would be taken for the other's plastic
    training = [(160, v) for v in rng.normal(2.0, 0.1, 9)] + [
        (80, v) for v in rng.normal(6, 0.2, 20)
    ]
    same = [(160, v) for v in rng.normal(2.0, 0.1, 12)] + [(80, v) for v in rng.normal(6, 0.2, 4)]
    found = skin(same, training)
    assert found["n"] == 12 and abs(found["value"]) < 1 and "160 px" in found["note"]  # type: ignore[arg-type, operator]
    plastic = [(160, v / 3) for _, v in same[:12]]
    assert skin(plastic, training)["value"] < -5  # type: ignore[operator]
    apart = skin([(40, 3.0)] * 12, training)
    assert apart["value"] is None and "at different sizes" in str(apart["reason"])


def test_an_index_that_the_base_has_too_is_no_copying() -> None:
    def index(lora: float, base: float) -> dict[str, Any]:
        scored = []
        for number in range(24):
            wobble = 0.05 * (number % 3 - 1)
            for arm, value in ((CHOSEN, lora), (BASE, base)):
                render, _ = drawn(number, 0, 0.0)
                render = replace(render, arm=arm.name, strength=arm.strength)
                scored.append((render, {"copy_index": Measure("copy_index", value + wobble)}))
        own = {"copy_index": [0.3, 0.5]}
        found = rows(Seen(scored, CHOSEN, own), {}, None, rules())
        return next(row for row in found if row["key"] == "copy_index")

    same, copied = index(0.42, 0.4), index(0.9, 0.3)
    assert same["value"] == pytest.approx(0.02)
    assert "itself 0.42" in str(same["note"]) and "themselves 0.40" in str(same["note"])
    low, _ = copied["interval"]
    assert low > 0.3


def test_of_equally_frequent_reasons_the_first_is_given() -> None:
    """A set's order changes with every process, and with it the verdict of the same grid."""

    arm = SimpleNamespace(name="step_000100", strength=1.0)
    of = SimpleNamespace(arm=arm.name, strength=1.0)
    told = [f"the eyes are {n} px apart" for n in range(30, 10, -1)]
    scored = [(of, {"skin": Measure("skin", None, reason=why)}) for why in told]
    seen = SimpleNamespace(scored=scored, chosen=arm)
    assert Seen.why(seen, "skin") == told[0]  # type: ignore[arg-type]
