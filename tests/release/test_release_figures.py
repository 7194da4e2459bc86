"""The README's figures show what was measured, at the place where it belongs."""

from __future__ import annotations

from pathlib import Path

import pytest
import release_project as make
from PIL import Image

from limner.errors import NotReadyError
from limner.project import Project
from limner.release import figures

DATA = (0x23, 0x45, 0x9F)  # the look's colour of a measured value


def columns(path: Path, colour: tuple[int, int, int]) -> list[int]:
    with Image.open(path) as image:
        width, pixels = image.width, image.convert("RGB").tobytes()
    spots = range(0, len(pixels), 3)
    return [i // 3 % width for i in spots if tuple(pixels[i : i + 3]) == colour]


def test_the_dot_stands_at_its_share(finished: Project, tmp_path: Path) -> None:
    found = columns(figures.verdict_figure(finished, tmp_path / "v.png"), DATA)
    left = figures.MARGIN + figures.NAME_WIDTH
    right = figures.WIDTH - figures.MARGIN - figures.READ_WIDTH
    middle = (min(found) + max(found)) / 2 / figures.SCALE
    assert (middle - left) / (right - left) == pytest.approx(0.9, abs=0.005)


def test_the_contact_sheet_has_a_cell_for_each_kept_picture(
    finished: Project, tmp_path: Path
) -> None:
    path = figures.contact_figure(finished, tmp_path / "c.png")
    kept = finished.store.kept()
    with Image.open(path) as image, Image.open(finished.path(kept[-1].path or "")) as last:
        step = figures.SHEET_CELL + figures.SHEET_GAP
        x = (figures.MARGIN + (len(kept) - 1) * step) * figures.SCALE + 3
        y = figures.MARGIN * figures.SCALE + 3
        shown = image.convert("RGB").getpixel((x, y))
        corner = last.convert("RGB").getpixel((1, 1))
    assert isinstance(shown, tuple) and isinstance(corner, tuple)
    assert all(abs(a - b) < 12 for a, b in zip(shown, corner, strict=True))


def test_nothing_measured_nothing_drawn(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", 1)
    with pytest.raises(NotReadyError):
        figures.verdict_figure(project, tmp_path / "v.png")
    with pytest.raises(NotReadyError):
        figures.contact_figure(project, tmp_path / "c.png")
    assert not (tmp_path / "v.png").exists()
