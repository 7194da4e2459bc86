"""The contact sheet: one row a character, the same bytes on one process or two."""

from __future__ import annotations

import numpy as np
import pytest

from limner.atelier import identity_from_seed, sheet
from limner.atelier.sheet import ANCHOR, GROUND, sheet_plan
from limner.errors import UsageError
from limner.events import Progress, Result, collect
from limner.lexicon import drawable as lexicon

CAST = [identity_from_seed(31), identity_from_seed(32)]


def test_a_row_starts_with_the_anchor_and_dresses_for_the_place() -> None:
    rows = sheet_plan(CAST[0], 12, seed=4)
    assert {key: rows[0][key] for key in ANCHOR} == ANCHOR
    assert len({row["setting"] for row in rows}) >= 10
    assert {row["angle"] for row in rows} >= {"front", "three_quarter", "side", "back"}
    for row in rows:
        place, outfit = lexicon.settings()[row["setting"]], lexicon.outfits()[row["outfit"]]
        assert row["lighting"] in place.lightings and outfit.formality in place.formality
        assert row["framing"] in lexicon.poses()[row["pose"]].framings
    assert sheet_plan(CAST[0], 12, seed=4) == rows != sheet_plan(CAST[0], 12, seed=5)


def test_two_characters_on_one_sheet_alike_on_one_process_and_on_two() -> None:
    events = list(sheet(CAST, images=2, size=64, seed=1, jobs=1))
    steps = [e for e in events if isinstance(e, Progress)]
    assert steps[-1].done == steps[-1].total == 4
    assert isinstance(events[-1], Result)
    page = np.asarray(events[-1].value)
    assert tuple(page[2, 2]) == GROUND
    # Two rows of two drawings: the blocks that are far from the neutral ground.
    coloured = np.ptp(page.astype(int), axis=2) > 24
    assert 0.02 < coloured.mean() < 0.9
    both = np.asarray(collect(sheet(CAST, images=2, size=64, seed=1, jobs=2)))
    assert np.array_equal(page, both)


def test_an_empty_or_huge_sheet_is_refused() -> None:
    with pytest.raises(UsageError, match="needs a character"):
        collect(sheet([], images=3))
    with pytest.raises(UsageError, match="4000 px"):
        collect(sheet(CAST, images=1, size=4000))
