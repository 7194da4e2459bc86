"""Captions: what the trainer is told about each kept take.

1. A caption is compiled from its shot's attributes (`compile_caption`), or from a prompt's words
   (`compile_text`): pure, exact, no model.
2. It says what must stay controllable (framing, clothes, place, expression, angle, pose, gaze).
3. It leaves out what must fuse with the trigger (hair, eyes, skin, age, build), light and camera.
4. Every caption has an author and a history; a person's text wins over any rule (`read_back`).
5. `compile` captions the kept takes, `describe` lets a model do it, `check` reports findings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from limner.captions.freetext import (
    TEMPLATES,
    as_dict,
    compile_text,
    compile_texts,
    template_named,
)
from limner.captions.grammar import PROFILES, Compiled, compile_caption
from limner.captions.stage import compile, edit, read_back

if TYPE_CHECKING:
    from limner.captions.audit import Audit, check, examine
    from limner.captions.describing import describe, look
    from limner.captions.trigger import advise

__all__ = [
    "PROFILES",
    "TEMPLATES",
    "Audit",
    "Compiled",
    "advise",
    "as_dict",
    "check",
    "compile",
    "compile_caption",
    "compile_text",
    "compile_texts",
    "describe",
    "edit",
    "examine",
    "look",
    "read_back",
    "template_named",
]

_HOMES = {
    **dict.fromkeys(("Audit", "check", "examine"), "audit"),
    **{"advise": "trigger", "describe": "describing", "look": "describing"},
}


def __getattr__(name: str) -> object:  # compiling one prompt needs neither check nor captioner
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
