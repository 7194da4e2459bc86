"""Draw the two pictures of README.md from a finished demo project.

In: a project folder (`limner demo --keep DIR`). Out: docs/img/contact_sheet.png and verdict.png.
"""

from __future__ import annotations

import sys
from pathlib import Path

from limner.project import Project
from limner.release.figures import contact_figure, verdict_figure

IMAGES = Path(__file__).resolve().parent.parent / "docs" / "img"


def main() -> None:
    """Write both pictures and name them."""
    if len(sys.argv) != 2:
        sys.exit("usage: build_readme_pictures.py PROJECT")
    project = Project.open(Path(sys.argv[1]))
    IMAGES.mkdir(parents=True, exist_ok=True)
    print(contact_figure(project, IMAGES / "contact_sheet.png"))
    print(verdict_figure(project, IMAGES / "verdict.png"))


if __name__ == "__main__":
    main()
