"""Draw the two pictures of README.md from a finished demo project.

In: a project folder (`limner demo --keep DIR`). Out: docs/img/contact_sheet.png and verdict.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image

from limner.project import Project
from limner.release.figures import contact_figure, verdict_figure

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "img"


def main() -> None:
    """Write both pictures and name them."""
    if len(sys.argv) != 2:
        sys.exit("usage: build_readme_pictures.py PROJECT")
    project = Project.open(Path(sys.argv[1]))
    IMAGES.mkdir(parents=True, exist_ok=True)
    for path in (
        contact_figure(project, IMAGES / "contact_sheet.png"),
        verdict_figure(project, IMAGES / "verdict.png"),
    ):
        with Image.open(path) as full:  # 256 colours: half the bytes, no visible difference
            full.convert("RGB").quantize(256).save(path, optimize=True)
        print(path)


if __name__ == "__main__":
    main()
