"""What an ai-toolkit run amounts to: its length, checkpoints, optimisation and memory.

In: a `Setup`. Out: findings; the arithmetic is `limner.training.trainers`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from limner.training import hardware
from limner.training.lint.findings import Findings
from limner.training.lint.reading import number, whole
from limner.training.lint.setup import ARCHS, Setup, arch
from limner.training.trainers import Ask, DataSet, RunCounts, count

DEFAULTS = {"rank": 4, "lr": 1e-6, "ema_decay": 0.999}
STEPS, SAVE_EVERY, KEEP = 1000, 1000, 5
"""What the classes take when a key is absent (config_modules.py)."""

MAX_STEPS = 10_000_000
"""More steps than this are counted as this."""


def ask_of(setup: Setup, images: int) -> tuple[Ask, int]:
    """The run as an `Ask`, and which accumulation stands in the file."""
    new = setup.count("train", "gradient_accumulation", 1)
    old = whole(setup.value("train", "gradient_accumulation_steps")) or 1
    legacy = new == 1 and old > 1
    sides = {len(r["resolution"]) for r in setup.datasets if isinstance(r.get("resolution"), list)}
    copies = max(sides, default=1) or 1
    repeats = whole((setup.datasets or [{}])[0].get("num_repeats")) or 1
    ask = Ask(
        sets=(DataSet(max(images, 1), min(max(repeats, 1), 100_000)),),
        batch=min(setup.count("train", "batch_size", 1), 4096),
        accumulation=min(old if legacy else new, 100_000),
        steps=min(setup.count("train", "steps", STEPS), MAX_STEPS),
        trainer="ai-toolkit",
        resolutions=(1024,) * min(copies, 16),
        legacy=legacy,
        output=setup.name,
    )
    return ask, old if legacy else new


def check_run(setup: Setup, found: Findings, images: int | None, v: Mapping[str, float]) -> None:
    """Length, checkpoints, optimisation and memory of one process."""
    run = _length(setup, found, images, v)
    _saving(setup, found, run)
    _train(setup, found, v)
    _ema(setup, found, run, v)
    _memory(setup, found)


def _length(setup: Setup, found: Findings, images: int | None, v: Mapping[str, float]) -> RunCounts:
    ask, group = ask_of(setup, images or 40)
    run = count(ask)
    line, steps = setup.line("train", "steps"), run.logged_steps
    if setup.value("train", "steps") is None:
        found.add(
            "no-length",
            setup.line("train"),
            f"`train.steps` is missing: the run makes {STEPS} steps",
            "train.steps: 3000",
        )
    new = whole(setup.value("train", "gradient_accumulation")) or 1
    old = whole(setup.value("train", "gradient_accumulation_steps"))
    if new > 1 and old not in (None, 1):
        found.add(
            "two-accumulations",
            setup.line("train", "gradient_accumulation_steps"),
            "The run does not start: gradient_accumulation and gradient_accumulation_steps are "
            "mutually exclusive",
            f"gradient_accumulation: {new} alone",
        )
    elif group > 1:
        _accumulation(setup, found, run, group, ask.legacy)
    _readings(setup, found, steps, images)
    if run.optimizer_steps > v["many_steps"]:
        found.add(
            "long-run",
            line,
            f"{run.optimizer_steps} updates and {run.image_passes} passes; the guide's own run "
            "has 3,400",
            "Shorten it, or be sure that you mean it.",
        )
    found.add(
        "counts",
        line,
        f"{steps} steps are {run.optimizer_steps} optimizer updates and {run.image_passes} image "
        "passes",
        "`limner plan --trainer ai-toolkit --steps ...` shows hours and money.",
    )
    return run


def _accumulation(setup: Setup, found: Findings, run: RunCounts, group: int, legacy: bool) -> None:
    key = "gradient_accumulation_steps" if legacy else "gradient_accumulation"
    line, steps = setup.line("train", key), run.logged_steps
    if legacy:
        found.add(
            "accumulation",
            line,
            f"The legacy key draws one batch a step: {steps} steps are only "
            f"{run.optimizer_steps} updates and {run.image_passes} passes",
            f"gradient_accumulation: {group} (draws {group} batches a step: {steps} updates, "
            f"{steps * group} passes), or steps: {steps * group}",
        )
    elif setup.bare or re.search(r"simulat|same as", setup.comment("train", key), re.IGNORECASE):
        found.add(
            "accumulation",
            line,
            f"`{key}: {group}` draws {group} batches a step: {steps} updates are "
            f"{run.image_passes} passes, {group} times the work; the legacy key "
            f"gradient_accumulation_steps would make {steps // group} updates and {steps} passes",
            f"Say which you mean: steps: {max(steps // group, 1)} with gradient_accumulation: "
            f"{group} shows as many pictures as {steps} steps without.",
        )


def _readings(setup: Setup, found: Findings, steps: int, images: int | None) -> None:
    """The guide's three readings of a run's length, where the file shows its arithmetic."""
    said = setup.comment("train", "steps")
    line = setup.line("train", "steps")
    product = re.search(r"(\d+)\s*(?:images?|pictures?)?\s*[x×*]\s*(\d+)", said)
    epochs = whole(setup.value("train", "epochs"))
    if epochs and setup.at.get(("train", "epochs")):
        found.add(
            "length-readings",
            line,
            f"{steps} steps beside {epochs} epochs: read as one run it is {steps} steps with an "
            f"`epoch` of {max(steps // epochs, 1)}; multiplied it would be {steps * epochs}. "
            f"ai-toolkit makes {steps}; the guide's own checkpoints (every 340 of 3,400) agree",
            f"train.steps: {steps} alone; save_every: {max(steps // epochs, 1)}",
        )
    if product:
        claimed, repeats = int(product[1]), int(product[2])
        here = f"there are {images} here" if images else "the data set decides"
        wrong = images is not None and images != claimed
        if wrong or images is None:
            found.add(
                "count-claim",
                line,
                f"The comment counts {claimed} pictures x {repeats}; {here}, and neither number "
                f"sets the length: {steps} steps are made whatever the folder holds",
                f"With {images or 40} pictures the same rule gives "
                f"{(images or 40) * repeats} steps.",
            )


def _saving(setup: Setup, found: Findings, run: RunCounts) -> None:
    steps, every = run.logged_steps, setup.count("save", "save_every", SAVE_EVERY)
    keep = whole(setup.value("save", "max_step_saves_to_keep"))
    numbered = (steps - 1) // every
    stated = setup.value("save", "save_every") is not None
    line = setup.line("save", "max_step_saves_to_keep")
    if numbered == 0 and steps > 1:
        why = "" if stated else f"`save.save_every` is missing (default {SAVE_EVERY}): "
        found.add(
            "no-checkpoints",
            setup.line("save", "save_every"),
            f"{why}no file is saved before the end of {steps} steps",
            f"save_every: {max(steps // 10, 1)}",
        )
    elif not stated:
        found.add(
            "no-checkpoints",
            setup.line("save"),
            f"`save.save_every` is missing: only {numbered} files and the last one, every "
            f"{SAVE_EVERY} steps; the guide wants epochs 5 to 10 tested, every "
            f"{max(steps // 10, 1)}",
            f"save_every: {max(steps // 10, 1)}",
        )
    wanted = numbered if stated else min((steps - 1) // max(steps // 10, 1), steps)
    real = KEEP if keep is None else keep
    if 0 < real < wanted:
        why = f"`max_step_saves_to_keep` is missing, the default is {KEEP}: "
        found.add(
            "pruned-checkpoints",
            line,
            f"{why if keep is None else ''}of {wanted} numbered checkpoints the first "
            f"{wanted - real} are deleted, often the better ones",
            f"max_step_saves_to_keep: {max(wanted, 10)}",
        )
    trained = setup.text("train", "dtype")
    saved = setup.text("save", "dtype")
    if trained == "bf16" and saved in ("", "float16", "fp16"):
        found.add(
            "save-dtype",
            setup.line("save", "dtype"),
            f"Trained in bf16, saved in float16{'' if saved else ' (the default)'}",
            "save.dtype: bf16",
        )


def _train(setup: Setup, found: Findings, v: Mapping[str, float]) -> None:
    rate, line = setup.real("train", "lr"), setup.line("train", "lr")
    if setup.value("train", "lr") is None:
        found.add(
            "no-rate",
            setup.line("train"),
            f"`train.lr` is missing: the default {DEFAULTS['lr']:g} learns nothing in these steps",
            "train.lr: 1.0e-4",
        )
    elif rate is not None and rate > v["rate_high"]:
        found.add(
            "rate-high",
            line,
            f"{rate:g} is above every published default (5e-5 to 3e-4)",
            "train.lr: 1.0e-4",
        )
    elif rate is not None and rate <= 0:
        found.add("wrong-type", line, f"A learning rate of {rate:g}", "train.lr: 1.0e-4")
    elif rate == 2e-4 and re.search(
        r"optimal|tested|best", setup.comment("train", "lr"), re.IGNORECASE
    ):
        found.add(
            "rate-claim",
            line,
            "No ablation for Qwen-Image is published: ai-toolkit's example has 1e-4, musubi-tuner "
            "5e-5, diffusers 2e-4, OneTrainer 3e-4",
            "train.lr: 1.0e-4 (2e-4 stays possible)",
        )
    if setup.text("train", "dtype") in ("", "fp32", "float32") and arch(setup) in ARCHS:
        stated = "" if setup.text("train", "dtype") else "`train.dtype` is missing, the default is "
        found.add(
            "precision",
            setup.line("train", "dtype"),
            f"{stated}fp32: twice the memory and several times the time of bf16",
            "train.dtype: bf16",
        )
    if setup.flag("train", "unload_text_encoder"):
        found.add(
            "captions-unused",
            setup.line("train", "unload_text_encoder"),
            "The captions are never read: it trains with the trigger's or an empty prompt alone",
            "cache_text_embeddings: true, unload_text_encoder: false",
        )
    elif (
        arch(setup) in ARCHS and not setup.flag("train", "cache_text_embeddings") and not setup.bare
    ):
        found.add(
            "text-encoder",
            setup.line("train"),
            "The text encoder stays in memory (about 8 GB in 8 bit, 16 in bf16)",
            "train.cache_text_embeddings: true",
        )
    if setup.flag("train", "diff_output_preservation") and setup.flag(
        "train", "blank_prompt_preservation"
    ):
        found.add(
            "two-preservations",
            setup.line("train", "blank_prompt_preservation"),
            "diff_output_preservation and blank_prompt_preservation exclude each other",
            "Keep one of them.",
        )
    backend = setup.text("train", "attention_backend")
    if "flash" in backend and arch(setup) in ARCHS:
        found.add(
            "mask-attention",
            setup.line("train", "attention_backend"),
            "An all-ones text mask is always passed, and flash kernels raise on a mask",
            "attention_backend: native",
        )


def _ema(setup: Setup, found: Findings, run: RunCounts, v: Mapping[str, float]) -> None:
    ema = setup.value("train", "ema_config")
    if not isinstance(ema, dict) or ema.get("use_ema") is not True:
        return
    decay = number(ema.get("ema_decay"))
    decay = DEFAULTS["ema_decay"] if decay is None else decay
    if not 0 <= decay < 1 or run.optimizer_steps >= v["ema_constants"] / (1 - decay):
        return
    found.add(
        "ema",
        setup.line("train", "ema_config"),
        f"EMA with decay {decay:g} remembers about {1 / (1 - decay):.0f} updates; of "
        f"{run.optimizer_steps} the early checkpoints are mostly the start, and the saved weights "
        "are the EMA's (it is not restored on resume either)",
        "use_ema: false, or ema_decay: 0.99",
    )


def _memory(setup: Setup, found: Findings) -> None:
    """Weights and activations against the card that the file names, if it names one."""
    if arch(setup) not in ARCHS:
        return
    quantize = setup.value("model", "quantize")
    qtype = setup.text("model", "qtype")
    if quantize is True and not qtype:
        found.add(
            "quantize-default",
            setup.line("model", "quantize"),
            "`quantize: true` alone gives qfloat8",
            "qtype: qfloat8",
        )
    precision = "bf16" if quantize is not True else "3bit" if "int3" in qtype else "8bit"
    if re.search(r"int4|nvfp4|int2", qtype):
        precision = "4bit"
    card = re.search(r"(\d{2,3})\s*GB", setup.doc.text)
    plain = setup.value("train", "gradient_checkpointing") is False
    case = hardware.Case(control=1024 if "edit" in arch(setup) else 0, checkpointing=not plain)
    need = hardware.memory_gb(case, "ai-toolkit", precision)
    there = int(card[1]) if card else None
    if plain:
        found.add(
            "vram",
            setup.line("train", "gradient_checkpointing"),
            f"Without gradient checkpointing about {need['gb']:.0f} GB are needed "
            f"({need['formula']})",
            "gradient_checkpointing: true",
        )
    elif quantize is not True and (there is None or need["gb"] > there * hardware.HEADROOM):
        found.add(
            "vram",
            setup.line("model", "quantize"),
            f"bf16 weights alone take 41 GB, about {need['gb']:.0f} with the rest: no card under "
            "80 GB holds it",
            "quantize: true, qtype: qfloat8, quantize_te: true, low_vram: true",
        )
