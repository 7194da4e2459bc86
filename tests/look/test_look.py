"""What every page stands on: commands among words, pictures inside, nothing from outside raw."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup, escape
from PIL import Image

from limner import look


@pytest.mark.parametrize(
    ("words", "commands"),
    [
        ("Run `limner shots plan`, then look.", ["limner shots plan"]),
        (
            "Set evaluation.untriggered, then limner evaluate && limner verdict.",
            ["limner evaluate && limner verdict"],
        ),
        ("limner evaluate --ask, or read the prompts", ["limner evaluate --ask"]),
        ("limner evaluate --tests far,guide", ["limner evaluate --tests far,guide"]),
        (
            "limner evaluate --style OTHER.safetensors:0.6 (up to three times)",
            ["limner evaluate --style OTHER.safetensors:0.6"],
        ),
        ("Ask Limner, or look at the pictures.", []),
        ("a lone ` is the text's own", []),
    ],
)
def test_commands_among_words_are_set_as_code(words: str, commands: list[str]) -> None:
    shown = look.coded(words)
    assert shown.count('<span class="option">--') == sum(c.count(" --") for c in commands)
    shown = shown.replace('<span class="option">', "").replace("</span>", "")
    pieces = shown.split('<code class="code">')[1:]
    assert [Markup(p.split("</code>")[0]).unescape() for p in pieces] == commands


@given(st.text() | st.text("`<- a"))
def test_whatever_a_text_says_it_stays_text(words: str) -> None:
    plain = look.coded(words)
    for tag in ('<code class="code">', "</code>", '<span class="option">', "</span>"):
        plain = plain.replace(Markup(tag), "")
    assert plain in (str(escape(words)), str(escape(words.replace("`", ""))))


def test_a_picture_goes_inside_small_and_a_broken_one_is_none(tmp_path: Path) -> None:
    Image.new("RGB", (640, 320), "red").save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    shown = look.thumbnail(tmp_path / "a.png", 64)
    assert shown is not None and shown.startswith("data:image/jpeg;base64,") and len(shown) < 2_000
    assert look.thumbnail(tmp_path / "b.png", 64) is None
    assert look.thumbnail(tmp_path / "none.png", 64) is None
    assert look.thumbnail(None, 64) is None
