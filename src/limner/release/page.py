"""The report: one HTML file that opens anywhere, without network or script, and prints on A4.

In: a project at any stage. Out: release/report.html (or `out`), styles and pictures inside.
"""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.project import Project, files
from limner.release import reading, story

if TYPE_CHECKING:
    from jinja2 import Environment

STYLES = ("tokens.css", "components.css", "report.css")


def look(name: str) -> str:
    """The text of one file of the look: tokens.css, components.css, report.css, glyphs.svg."""
    return (resources.files(__package__) / "look" / name).read_text(encoding="utf-8")


@cache
def templates() -> Environment:
    """Jinja with autoescape for HTML; an undefined name is an error, not an empty string."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=PackageLoader("limner.release"),
        autoescape=select_autoescape(["html.j2"], default_for_string=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["whole"] = whole
    return made


def whole(text: str) -> str:
    """A text whose numbers keep their percent sign on the same line."""
    return text.replace(" %", "\N{NO-BREAK SPACE}%")


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
    from markupsafe import Markup

    from limner import __version__

    told: dict[str, Any] = story.tell(project, read)
    return (
        templates()
        .get_template("report.html.j2")
        .render(
            css=Markup("\n".join(look(name) for name in STYLES)),
            glyphs=Markup(look("glyphs.svg")),
            version=__version__,
            check_target=check_target,
            **told,
        )
    )
