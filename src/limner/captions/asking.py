"""Asking a model whether a picture shows a phrase: yes, no, or no answer that is one.

In: an OpenAI-compatible endpoint that sees pictures. Out: a `Look` for the check's phrases.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from limner.errors import InputError
from limner.llm import Client, Message, picture, user

Look = Callable[[Path, str], bool | None]
"""(picture, phrase) -> whether it shows it; None: not answered with yes or no."""

QUESTION = (
    'Look at the picture. Is this true of it: "{phrase}"? '
    "Answer with the single word yes or the single word no."
)
LONGEST_SIDE = 768
"""Pixels of the pictures sent (starting value): enough for a background or a garment."""
_ANSWER = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


def question(path: Path, phrase: str) -> list[Message]:
    """The messages that are sent. Raises InputError for what is no picture."""
    return [user(QUESTION.format(phrase=phrase), picture(path, LONGEST_SIDE))]


def looking(client: Client) -> Look:
    """A `Look` that asks `client`. It raises EndpointError when the endpoint does not answer."""

    def look(path: Path, phrase: str) -> bool | None:
        try:
            messages = question(path, phrase)
        except InputError:
            return None  # the check names unreadable pictures elsewhere
        reply = client.chat(messages, temperature=0.0, max_tokens=400)
        match = _ANSWER.match(reply.text)
        return None if match is None else match.group(1).lower() == "yes"

    return look
