"""How each source likes to be spoken to: one table, one row a source.

In: the name of a source. Out: a `Dialect`: who the prompt is about, what it leaves out, how long it
may be, and what a negative prompt says, where there is one.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from limner.errors import InputError
from limner.project.rules import Tag
from limner.shots.writer import DROPPABLE


@dataclass(frozen=True)
class Dialect:
    """A source's way of being asked.

    trigger: whether the trigger names the person (it means nothing to a base without the LoRA).
    persons: who it is, else, with `{class_word}`. drop: parts left out. words, characters: lowest
    and highest length that suits. negative: None = the source has no negative prompt.
    """

    id: str
    trigger: bool
    persons: tuple[str, ...] = ()
    drop: frozenset[str] = field(default_factory=frozenset)
    words: tuple[int, int] = (35, 75)
    characters: tuple[int, int] | None = None
    negative: str | None = None
    source: str = ""
    tag: Tag = "starting value"

    def subjects(self, trigger: str, class_word: str | None) -> tuple[str, ...]:
        """The ways to name the person."""
        if not self.trigger:
            return tuple(p.format(class_word=class_word or "person") for p in self.persons)
        return (f"{trigger} {class_word}" if class_word else trigger,)

    def word_of(self, class_word: str | None) -> str | None:
        """The class word where it names the person; beside a trigger it is not said."""
        return None if self.trigger else class_word


ARTEFACTS = "extra fingers, deformed hands, doubled figure, watermark, written text, frame, collage"
"""What a negative prompt asks to leave out: faults of pictures, never traits of a person (they
would pull at the likeness) and never blur (backgrounds are blurred on purpose). Starting value."""

_EDIT = {
    "trigger": False,
    "persons": ("the same {class_word}", "this {class_word}", "the pictured {class_word}"),
    "drop": frozenset({"props", "mood", "camera", "genre", "manner"}),
    "words": (20, 45),
    "characters": (50, 280),
    "negative": ARTEFACTS,
}

DIALECTS: dict[str, Dialect] = {
    "atelier": Dialect("atelier", True, source="the guide's example prompt", tag="community"),
    "inbox": Dialect("inbox", True, source="the guide's example prompt", tag="community"),
    "higgsfield": Dialect(
        "higgsfield",
        True,
        source="the guide: trigger in the prompt, 40 to 60 words; Soul v2 has no negative prompt",
        tag="community",
    ),
    "comfyui": Dialect(
        "comfyui",
        **_EDIT,  # type: ignore[arg-type]
        source="Qwen-Image-Edit: say what changes, in a short text; the reference says who",
        tag="community",
    ),
    "diffusers": Dialect(
        "diffusers",
        **_EDIT,  # type: ignore[arg-type]
        source="as comfyui; true_cfg_scale works only with a negative prompt",
        tag="community",
    ),
}
"""Dialects by the name of the source. Lengths: prompts of the guide's companion texts."""


def dialect_of(name: str) -> Dialect:
    """The dialect of a source. Raises InputError for an unknown name."""
    if name not in DIALECTS:
        raise InputError(
            f"no dialect {name!r}", where="dialect", fix=f"Use one of: {', '.join(DIALECTS)}"
        )
    return DIALECTS[name]


assert all(d.drop <= set(DROPPABLE) for d in DIALECTS.values())
