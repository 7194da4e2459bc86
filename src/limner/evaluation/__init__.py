"""Is it the same person, and can you prove it?

1. Arms are checkpoints at strengths, the base model as zero line, another character's LoRA as
   control; all draw the same prompts from the same seeds.
2. `evaluate` chooses on continuous scores of one set of seeds, then draws fresh pictures of fresh
   prompts for winner, base and control; every picture is journaled, cached by content, scored once.
3. A picture matches when its face passes a threshold set by strangers; a lost face is a miss.
4. `verdict` claims on yes and no with exact intervals and says one of four words, never more.
5. Statistics are pure functions; every limit stands in `rules.RULES` and can be changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from limner.evaluation.comparing import against, compare
    from limner.evaluation.existing import evaluate_samples
    from limner.evaluation.prompt import EvalPrompt
    from limner.evaluation.speak import verdict
    from limner.evaluation.stage import evaluate

__all__ = ["EvalPrompt", "against", "compare", "evaluate", "evaluate_samples", "verdict"]
_HOMES = {
    "EvalPrompt": "prompt",
    "evaluate": "stage",
    "evaluate_samples": "existing",
    "verdict": "speak",
    "compare": "comparing",
    "against": "comparing",
}


def __getattr__(name: str) -> Any:
    """The public functions load their modules (NumPy, vision) when first used."""
    if name not in _HOMES:
        raise AttributeError(name)
    from importlib import import_module

    return getattr(import_module(f"limner.evaluation.{_HOMES[name]}"), name)
