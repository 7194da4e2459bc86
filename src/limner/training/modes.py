"""What is shown beside a picture while a character is trained on an edit model: three modes.

In: a mode, the control's size, a trainer. Out: what it means there, what it costs, what cannot be.
Nobody has published a controlled test of them; reports contradict each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from limner.errors import UsageError
from limner.training import hardware

SIZES = (512, 1024)


@dataclass(frozen=True)
class Mode:
    """One way. template: the prompt template it trains; shows: what the control is."""

    name: str
    template: str
    shows: str
    evidence: str
    tag: str


MODES: dict[str, Mode] = {
    m.name: m
    for m in (
        Mode(
            "none",
            "t2i",
            "nothing: text to image on the edit weights",
            "two users of ai-toolkit report good results (ai-toolkit#480); musubi-tuner's author "
            "calls training without control bad (musubi#669)",
            "community",
        ),
        Mode(
            "blank",
            "edit",
            "a black picture of the same shape",
            "one report of better results than training base Qwen-Image (musubi#669)",
            "community",
        ),
        Mode(
            "self",
            "edit",
            "another picture of the character, one with a face first",
            "as the model will be used with a reference; no public test",
            "starting value",
        ),
    )
}
_WITHOUT_CONTROL = ("kohya",)
"""Trainers whose layout or code takes no control pictures."""


def resolve(mode: str | None, control: int | None) -> tuple[Mode, int]:
    """(mode, control size) from what was said: a size alone means self, a mode alone 1024 px.

    Raises UsageError for an unknown mode or size, or a size without a picture.
    """
    if control not in (None, 0, *SIZES):
        raise UsageError("The reference is 0, 512 or 1024 px", where="--control")
    if mode is not None and mode not in MODES:
        raise UsageError(
            f"There is no character mode {mode!r}", where="--mode", fix=f"Use {', '.join(MODES)}."
        )
    if mode == "none" and control:
        raise UsageError(
            "Mode none shows no control picture", where="--mode, --control", fix="Leave one out."
        )
    if mode in ("blank", "self") and control == 0:
        raise UsageError(
            f"Mode {mode} shows a control picture", where="--mode, --control", fix="Give 512 or "
            "1024."
        )  # fmt: skip
    name = mode or ("self" if control else "none")
    return MODES[name], 0 if name == "none" else control or 1024


def seen_size(trainer: str, control: int) -> int:
    """The size a trainer really encodes: ai-toolkit resizes every control to one megapixel."""
    return 1024 if control and trainer == "ai-toolkit" else control


def findings(trainer: str, mode: Mode, control: int) -> list[dict[str, Any]]:
    """What a mode means in a trainer, as rows {rule, severity, what, instead}."""
    found = []

    def add(rule: str, severity: str, what: str, instead: str) -> None:
        found.append({"rule": rule, "severity": severity, "what": what, "instead": instead})

    if mode.name != "none" and trainer in _WITHOUT_CONTROL:
        add(
            "mode", "error", f"{trainer} takes no control pictures",
            "Use --mode none, or ai-toolkit, musubi-tuner, SimpleTuner or native.",
        )  # fmt: skip
    if mode.name == "none" and trainer == "SimpleTuner":
        add(
            "mode", "warning",
            "SimpleTuner's edit flavours stop without control pictures; only its text-to-image "
            "flavours train so", "Use --mode blank or self, or the base Qwen/Qwen-Image.",
        )  # fmt: skip
    if mode.name == "none" and trainer == "ai-toolkit":
        add(
            "mode", "info",
            "`arch: qwen_image_edit_plus` stops without control pictures; arch: qwen_image trains "
            "the edit weights as text to image", "`limner dataset export --for ai-toolkit`",
        )  # fmt: skip
    if trainer == "ai-toolkit" and control and control != 1024:
        add(
            "control-size", "warning",
            f"ai-toolkit resizes every control to about one megapixel: {control} px cost as 1024",
            "Count with --control 1024, or use musubi-tuner or native.",
        )  # fmt: skip
    if trainer == "ai-toolkit" and control:
        add(
            "upstream", "warning",
            "ai-toolkit 0.12.26 shows the text encoder an almost black control; only the latents "
            "carry it, and other programs differ", "native or musubi-tuner show it whole.",
        )  # fmt: skip
    return found


def compared(gpu: str, case: hardware.Case, trainer: str, passes: int) -> list[dict[str, Any]]:
    """Every mode on one GPU: memory, hours and what it shows, for the same passes (modelled)."""
    rows = []
    for mode in MODES.values():
        for size in (0,) if mode.name == "none" else SIZES:
            seen = replace(case, control=seen_size(trainer, size))
            precision, fits = hardware.choose_precision(gpu, seen, trainer)
            here = replace(seen, precision=precision)
            pace = hardware.seconds_a_pass(gpu, here, trainer)
            memory = hardware.memory_gb(here, trainer, precision)
            rows.append(
                {
                    "mode": mode.name,
                    "control": size,
                    "template": mode.template,
                    "shows": mode.shows,
                    "precision": precision,
                    "fits": fits,
                    "vram_gb": memory["gb"],
                    "hours": round(passes * pace["seconds"] / 3600, 2),
                    "tag": pace["tag"],
                    "evidence": mode.evidence,
                    "evidence_tag": mode.tag,
                }
            )
    return rows
