"""A prompt to evaluate with: its words, what it asks for, and whether a face can be seen."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class EvalPrompt:
    """A prompt that was never trained on. `text` holds the trigger; `face_visible` False: the
    picture cannot show who it is and is left out before anything is drawn. questions: yes/no
    questions whose right answer is yes; those of the attributes need not be written."""

    id: str
    text: str
    attributes: dict[str, str] = field(default_factory=dict)
    face_visible: bool = True
    questions: tuple[str, ...] = ()
