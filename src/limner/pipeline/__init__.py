"""The stages in order: what is done, what is next, and what one stage needs from another.

1. `status(project)` reads the records only and says every stage's state, counts and the next step.
2. Stages are siblings; the functions of `wiring` hand one's product to the next (a source's
   abilities to the planner, planned and compiled prompts to the evaluation).
3. `demo(folder)` walks a whole project from description to report with the same functions.
4. `doctor()` looks at this machine. Nothing heavy is imported before a stage works.
5. Every long function is a generator of events ending in a JSON-able `Result`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from limner.pipeline.machine import doctor
    from limner.pipeline.stages import STAGES, status
    from limner.pipeline.walk import demo
    from limner.pipeline.wiring import (
        evaluate,
        generate,
        import_shots,
        plan_shots,
        replan_shots,
        review,
    )

__all__ = [
    "STAGES",
    "demo",
    "doctor",
    "evaluate",
    "generate",
    "import_shots",
    "plan_shots",
    "replan_shots",
    "review",
    "status",
]

_HOMES = {
    "STAGES": "stages",
    "status": "stages",
    "demo": "walk",
    "doctor": "machine",
    "evaluate": "wiring",
    "generate": "wiring",
    "import_shots": "wiring",
    "plan_shots": "wiring",
    "replan_shots": "wiring",
    "review": "wiring",
}


def __getattr__(name: str) -> object:  # `status` alone must not load what a demo needs
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
