"""The report: one HTML file that opens anywhere, without network or script, and prints on A4.

In: a project at any stage. Out: release/report.html (or `out`), styles and pictures inside.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner import look
from limner.project import Project, files
from limner.release import reading, story

if TYPE_CHECKING:
    from jinja2 import Environment


def templates() -> Environment:
    """The templates of the report, the card and the guide."""
    return look.environment("limner.release")


def report(project: Project, out: Path | None = None) -> Path:
    """Write the report and return its path; default `release/report.html`.

    Works at every stage: what is not done yet is said in words. Raises InputError,
    StoreError, WorkFailedError.
    """
    target = out or project.folder("release") / "report.html"
    files.write_text(target, render(project))
    return target


def render(
    project: Project, *, check_target: str = ".", read: reading.Reading | None = None
) -> str:
    """The report as text. `check_target`: what the receipt tells the reader to verify; read: the
    verdict as a release tells it, default the newest."""
    told: dict[str, Any] = story.tell(project, read)
    return look.render("limner.release", "report.html.j2", check_target=check_target, **told)
