"""Shots: what to photograph so that a LoRA learns one person and nothing else.

1. A plan is N shots; each has one value on every axis of the lexicon and a prompt.
2. Quotas are exact on every axis at once (largest remainder for any N); rules keep values possible.
3. A seeded search with a work budget keeps attributes from sticking together (Cramer's V).
4. The writer turns attributes into varied prompts without constants of the person.
5. `plan` writes a project's shots; `make_plan` is the same without a project; `replan`, `check`,
   `take_in` (prompts that exist), `export`; `gather` and `check_file` do it for any file.
"""

from limner.shots.planner import PLANNED_COUNTS, ShotPlan, make_plan, shot_seed
from limner.shots.quotas import parse_quotas
from limner.shots.sets import (
    EXPORTS,
    Wanted,
    check,
    check_file,
    check_plan,
    export,
    gather,
    take_in,
    wanted_by,
)
from limner.shots.signature import Signature, shared_out
from limner.shots.stage import learn, plan, replan, signature_of
from limner.shots.writer import write_prompt

__all__ = [
    "EXPORTS",
    "PLANNED_COUNTS",
    "ShotPlan",
    "Signature",
    "Wanted",
    "check",
    "check_file",
    "check_plan",
    "export",
    "gather",
    "learn",
    "make_plan",
    "parse_quotas",
    "plan",
    "replan",
    "shared_out",
    "shot_seed",
    "signature_of",
    "take_in",
    "wanted_by",
    "write_prompt",
]
