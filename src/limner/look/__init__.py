"""The look: one set of styles, glyphs and small parts for every page that Limner writes.

1. A page is one HTML file: styles and pictures inside, no network, no script; light, dark, paper.
2. `render` fills a template of a stage and gives it `css`, `glyphs` and `version`.
3. Styles: tokens (colours, type, space), then components, then what a page adds of its own.
4. `thumbnail` and `data_uri` put pictures inside; a picture that cannot be read is None.
5. Texts from outside are escaped; `code` and `coded` set commands as code.
"""

from __future__ import annotations

import base64
import io
import itertools
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup
    from PIL.Image import Image

__all__ = ["code", "coded", "data_uri", "environment", "render", "text", "thumbnail", "whole"]

STYLES = ("tokens.css", "components.css", "report.css")
"""What a page of words and pictures stands on; a page with a layout of its own leaves the last."""
TYPES = {"JPEG": "image/jpeg", "WEBP": "image/webp"}
_COMMAND = re.compile(
    rf"{(_ONE := r'limner (?:(?:shots|captions|dataset|lora|soul-id|atelier) )?[a-z][a-z-]*[a-z]')}"
    r"(?: --[a-z][a-z-]*[a-z](?:[ =](?:[A-Z0-9][\w.:/]*\w|[a-z]+(?:,[a-z]+)+|(?<=tests )[a-z]+))?)*"
    rf"(?: && {_ONE})*"
)
"""A command among words: `limner evaluate --tests far,guide && limner verdict`."""


def text(name: str) -> str:
    """One file of the look: tokens.css, components.css, report.css, glyphs.svg."""
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


@cache
def environment(package: str, folder: str = "templates") -> Environment:
    """Jinja for the templates of a package: HTML is escaped, an undefined name is an error.

    Filters: `whole` keeps a number and its percent sign on one line, `code` sets a command as code,
    `coded` those it finds among words.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    made = Environment(
        loader=PackageLoader(package, folder),
        autoescape=select_autoescape(["html.j2"], default_for_string=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: Mapping[str, Callable[..., Any]] = {"whole": whole, "coded": coded, "code": code}
    made.filters.update(filters)
    return made


def render(
    package: str,
    template: str,
    *,
    folder: str = "templates",
    styles: tuple[str, ...] = STYLES,
    own: str = "",
    **told: Any,
) -> str:
    """A page as text. styles: files of the look; own: a page's further CSS; told: its words."""
    from markupsafe import Markup

    from limner import __version__

    css = "\n".join([*map(text, styles), own])
    found = environment(package, folder).get_template(template)
    return found.render(
        css=Markup(css), glyphs=Markup(text("glyphs.svg")), version=__version__, **told
    )


def whole(words: str) -> str:
    """A text whose numbers keep their percent sign on the same line."""
    return words.replace(" %", "\N{NO-BREAK SPACE}%")


def coded(words: str) -> Markup:
    """Words for a person, with the commands in them set as code: between backticks, or as found."""
    from markupsafe import Markup, escape

    parts = words.split("`")
    if len(parts) == 1:
        spans = [m.span() for m in _COMMAND.finditer(words)]
        cuts = [0, *(at for span in spans for at in span), len(words)]
        parts = [words[a:b] for a, b in itertools.pairwise(cuts)]
    elif len(parts) % 2 == 0:  # a lone backtick is the text's own
        return escape(words)
    return Markup("").join(code(p) if i % 2 else escape(p) for i, p in enumerate(parts))


def code(command: str) -> Markup:
    """One command as code; a line never ends within an option (`--` here and `ask` there)."""
    from markupsafe import Markup

    kept = Markup('<span class="option">{}</span>')
    words = [kept.format(w) if w.startswith("--") else w for w in command.split(" ")]
    return Markup('<code class="code">{}</code>').format(Markup(" ").join(words))


def data_uri(image: Image, kind: str = "JPEG", quality: int = 82) -> str:
    """A picture as a data URI. kind: JPEG or WEBP."""
    out = io.BytesIO()
    image.save(out, kind, quality=quality)
    return f"data:{TYPES[kind]};base64," + base64.b64encode(out.getvalue()).decode("ascii")


def thumbnail(path: Path | None, side: int, quality: int = 82) -> str | None:
    """The picture at most `side` px long as a data URI; None when there is none or it is broken."""
    from PIL import Image

    from limner.errors import InputError
    from limner.vision.pictures import open_picture

    if path is None:
        return None
    try:
        image = Image.fromarray(open_picture(path))
    except InputError:
        return None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return data_uri(image, quality=quality)
