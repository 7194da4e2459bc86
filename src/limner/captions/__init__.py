"""Captions: what the trainer is told about each kept take.

1. A caption is compiled from its shot's attributes (`compile_caption`), or from a prompt's words
   (`compile_text`): pure, exact, no model.
2. It says what must stay controllable (framing, clothes, place, expression, angle, pose, gaze).
3. It leaves out what must fuse with the trigger (hair, eyes, skin, age, build), light and camera.
4. Every caption has an author and a history; a person's text wins over any rule (`read_back`).
5. `compile` captions the kept takes, `describe` lets a model do it, `check` reports findings.
"""

from limner.captions.audit import Audit, check, examine
from limner.captions.freetext import (
    TEMPLATES,
    as_dict,
    compile_text,
    compile_texts,
    template_named,
)
from limner.captions.grammar import PROFILES, Compiled, compile_caption
from limner.captions.stage import compile, edit, read_back

__all__ = [
    "PROFILES",
    "TEMPLATES",
    "Audit",
    "Compiled",
    "as_dict",
    "check",
    "compile",
    "compile_caption",
    "compile_text",
    "compile_texts",
    "edit",
    "examine",
    "read_back",
    "template_named",
]
