"""Models that look at a picture and say what it shows, behind one small interface.

1. A `Captioner` answers `caption(picture, attempt)` with its words as they came (`Said`).
2. `HttpCaptioner`: any OpenAI-compatible endpoint (JoyCaption on vLLM, Ollama, LM Studio).
3. `LocalCaptioner`: transformers here, one `Family` a model class (Llava, Florence-2, Qwen-VL).
4. `Captioner.request(picture)` is exactly what would be sent; `caption` sends the same.
5. Nothing here edits the words or writes records: `limner.captions.describing` does.
"""

from __future__ import annotations

from limner.captions.captioners.interface import (
    Captioner,
    CaptionerSettings,
    Said,
    load_settings,
    write_settings,
)
from limner.captions.captioners.prompt import Prompt, captioner_prompt, own_words

__all__ = [
    "Captioner",
    "CaptionerSettings",
    "Prompt",
    "Said",
    "captioner_prompt",
    "load_settings",
    "open_captioner",
    "own_words",
    "write_settings",
]


def open_captioner(
    settings: CaptionerSettings, prompt: Prompt, *, only_shown: bool = False
) -> Captioner:
    """The captioner the settings name. only_shown: for its `request` alone, without an endpoint.

    Raises UsageError, InputError (no such model or endpoint), MissingExtraError (local models
    without limner[train]).
    """
    if settings.where == "local":
        from limner.captions.captioners.local import LocalCaptioner

        return LocalCaptioner(settings, prompt)
    from limner.captions.captioners.http import HttpCaptioner

    return HttpCaptioner(settings, prompt, only_shown=only_shown)
