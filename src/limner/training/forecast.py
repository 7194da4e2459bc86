"""A plan from numbers alone, no project needed: `limner plan --images 40 --repeats 40 ...`.

In: an `Ask` and a hardware `Case`. Out: steps, passes, checkpoints, memory, hours, dollars and
findings, with a line for each that says where it comes from.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from limner.training import arithmetic, hardware, modes
from limner.training.rules import rules
from limner.training.trainers import TRAINERS, Ask, RunCounts, count

Finding = dict[str, Any]


def forecast(
    ask: Ask,
    case: hardware.Case | None = None,
    *,
    gpu: str | None = None,
    usd_per_hour: float | None = None,
    mode: str | None = None,
) -> dict[str, Any]:
    """The plan of a run on the real model. gpu None or "all": one row a GPU type in `gpus`.

    mode: none, blank or self (`limner.training.modes`); None: self if the case has a control.
    Raises UsageError for impossible numbers, an unknown trainer or GPU, or checkpoints that would
    be deleted. Without a single GPU `vram_gb`, `hours` and `usd` are None with `reason`.
    """
    case = case or hardware.Case()
    run = count(ask)
    how, control = modes.resolve(mode, case.control or None)
    case = replace(
        case,
        resolution=max(ask.resolutions),
        batch=ask.batch,
        control=modes.seen_size(run.trainer, control),
    )
    single = gpu is not None and gpu.strip().lower() != "all"
    names = [hardware.gpu_named(gpu)] if single and gpu else list(hardware.table()["gpus"])
    rows = [_on(name, run, ask, case, usd_per_hour) for name in names]
    one = rows[0] if single else None
    found: dict[str, Any] = {
        "trainer": run.trainer,
        "gpu": one["gpu"] if one else None,
        "images": run.images,
        "repeats": ask.sets[0].repeats,
        "batch": ask.batch,
        "accumulation": ask.accumulation,
        "epochs": run.epochs,
        "batches_per_epoch": run.batches_per_epoch,
        "logged_steps": run.logged_steps,
        "optimizer_steps": run.optimizer_steps,
        "image_passes": run.image_passes,
        "passes_a_picture": round(run.image_passes / run.images, 1),
        "shares": run.shares,
        "mode": how.name,
        "control": control,
        "template": how.template,
        "modes": modes.compared(one["gpu"], case, run.trainer, run.image_passes) if one else [],
        "save_every": run.save_every,
        "checkpoints": [asdict(save) for save in run.checkpoints],
        "settings": run.settings,
        "vram_gb": one["vram_gb"] if one else None,
        "ram_gb": hardware.ram_gb()["gb"],
        "disk_gb": hardware.disk_gb(case.rank, len(run.checkpoints))["gb"],
        "hours": one["hours"] if one else None,
        "usd": one["usd"] if one else None,
        "reason": None if one else "no single GPU was named: see `gpus`",
        "precision": one["precision"] if one else None,
        "tags": one["tags"] if one else None,
        "formulas": {**_formulas(ask, run, case), **(one["formulas"] if one else {})},
        "gpus": rows,
        "guide": arithmetic.guide_readings(run.images, ask.sets[0].repeats, run.image_passes),
    }
    found["findings"] = [
        *_findings(ask, run, case),
        *modes.findings(run.trainer, how, control),
        *(_too_big(one) if one else []),
    ]
    return found


def _on(gpu: str, run: RunCounts, ask: Ask, case: hardware.Case, usd: float | None) -> Finding:
    """One GPU type: memory, hours, dollars, with tags and formulas."""
    precision, fits = hardware.choose_precision(gpu, case, run.trainer)
    here = replace(case, precision=precision)
    memory = hardware.memory_gb(here, run.trainer, precision)
    # each size of ai-toolkit's list gets an equal share of the passes
    copies = ask.resolutions if TRAINERS[run.trainer].copies else (max(ask.resolutions),)
    paces = [
        hardware.seconds_a_pass(gpu, replace(here, resolution=side), run.trainer) for side in copies
    ]
    a_pass = sum(p["seconds"] for p in paces) / len(paces)
    floor = sum(p["floor"] for p in paces) / len(paces)
    hours = run.image_passes * a_pass / 3600
    price = hardware.price(gpu, usd)
    dollars = None if price["usd"] is None else round(hours * price["usd"], 2)
    there = hardware.table()["gpus"][gpu]["memory_gb"]
    return {
        "gpu": gpu,
        "precision": precision,
        "fits": fits,
        "vram_gb": memory["gb"],
        "card_gb": there,
        "seconds_a_pass": round(a_pass, 3),
        "hours": round(hours, 2),
        "hours_at_peak": round(run.image_passes * floor / 3600, 2),
        "usd": dollars,
        "usd_reason": None if dollars is not None else price["source"],
        "tags": {"vram_gb": memory["tag"], "hours": paces[0]["tag"], "usd": price["tag"]},
        "formulas": {
            "vram_gb": f"{memory['formula']} ({precision}; {memory['source']})",
            "seconds_a_pass": "; ".join(f"{p['formula']} ({p['source']})" for p in paces),
            "hours": f"{run.image_passes} passes x {a_pass:.2f} s / 3600; without samples, caching "
            f"and download. The same work at the processor's peak is "
            f"{run.image_passes * floor / 3600:.1f} h; published runs of untuned trainers lie 3 to "
            "8 times above that",
            "usd": f"{hours:.2f} h x {price['usd']} USD/h ({price['source']})"
            if price["usd"] is not None
            else str(price["source"]),
        },
    }


def _formulas(ask: Ask, run: RunCounts, case: hardware.Case) -> dict[str, str]:
    """How the counts come about, in this trainer's semantics."""
    trainer = TRAINERS[run.trainer]
    sets = " + ".join(f"{s.images} x {s.repeats}" for s in ask.sets)
    copies = len(ask.resolutions) if trainer.copies else 1
    times = f" x {copies} sizes" if copies > 1 else ""
    epochs = f"{ask.epochs} epochs" if ask.epochs else f"{ask.steps} steps"
    if ask.legacy:
        steps = "one batch a logged step, an update every accumulation of them"
    elif trainer.name == "native":
        steps = "passes / (batch x accumulation), as one batch; rounds run on into each other"
    elif trainer.flush:
        steps = "epochs x ceil(batches / accumulation): the short last group is an update too"
    else:
        steps = "batches / accumulation; groups run on into the next pass over the data"
    return {
        "batches_per_epoch": f"({sets}){times} / batch {ask.batch} = {run.batches_per_epoch}",
        "optimizer_steps": f"{epochs} -> {run.optimizer_steps} updates: {steps} ({trainer.source})",
        "image_passes": f"{run.image_passes} = {run.epochs:g} rounds of {run.items_per_epoch}",
        "checkpoints": f"{len(run.checkpoints)} files, every {run.save_every} steps and at the end",
        "shares": " : ".join(
            f"{s.name} {s.images} x {s.repeats}{times} = {100 * run.shares[s.name]:.1f} %"
            for s in ask.sets
        ),
        "ram_gb": str(hardware.ram_gb()["formula"]),
        "disk_gb": str(hardware.disk_gb(case.rank, len(run.checkpoints))["formula"]),
    }


def _finding(rule: str, severity: str, what: str, instead: str) -> Finding:
    return {"rule": rule, "severity": severity, "what": what, "instead": instead}


def _findings(ask: Ask, run: RunCounts, case: hardware.Case) -> list[Finding]:
    found = []
    trainer, once = TRAINERS[run.trainer], ask.sets[0].images * ask.sets[0].repeats
    if ask.epochs == arithmetic.GUIDE_EPOCHS and ask.sets[0].repeats > 1:
        found.append(
            _finding(
                "length-readings",
                "warning",
                f"{ask.sets[0].images} x {ask.sets[0].repeats} = {once} and {ask.epochs} epochs: "
                f"one run of {once} steps with ten checkpoints, or {once * 10} passes. Counted "
                f"here as {run.trainer} would: {run.image_passes} passes",
                f"For the first reading give --steps {once} instead of --epochs.",
            )
        )
    if 0 < trainer.keep < run.keep_needed:
        found.append(
            _finding(
                "pruned-checkpoints",
                "warning",
                f"{trainer.name} keeps the newest {trainer.keep} unless told otherwise: the first "
                f"{run.keep_needed - trainer.keep} of {run.keep_needed} would be deleted",
                f"Write {trainer.keep_key}: {run.keep_needed} (in `settings`).",
            )
        )
    if trainer.name == "ai-toolkit" and ask.sets[0].repeats > 1:
        found.append(
            _finding(
                "folder-repeats",
                "info",
                f"A folder called {ask.sets[0].repeats}_name repeats nothing in ai-toolkit",
                f"Write num_repeats: {ask.sets[0].repeats}.",
            )
        )
    if trainer.name == "native" and ask.accumulation > 1:
        found.append(
            _finding(
                "accumulation",
                "info",
                f"{ask.accumulation} accumulated batches of {ask.batch} count as one batch of "
                f"{ask.accumulation * ask.batch}: the same update",
                f"training.batch: {ask.accumulation * ask.batch}",
            )
        )
    many = rules()["many_steps"]
    if run.optimizer_steps > many or run.image_passes > 4 * many:
        found.append(
            _finding(
                "long-run",
                "warning",
                f"{run.optimizer_steps} updates and {run.image_passes} passes are far more than "
                "the guide's run of 3,400 updates",
                "Shorten it, or be sure that you mean it.",
            )
        )
    if len(set(ask.resolutions)) < len(ask.resolutions):
        found.append(
            _finding(
                "duplicate-resolution",
                "warning",
                "The same size twice is another copy of the data, not another size",
                "Name each size once.",
            )
        )
    return found


def _too_big(row: dict[str, Any]) -> list[Finding]:
    if row["fits"]:
        return []
    return [
        _finding(
            "vram",
            "error",
            f"About {row['vram_gb']} GB are needed with {row['precision']} weights; a {row['gpu']} "
            f"has {row['card_gb']} GB",
            "Use a larger card, a smaller size, narrower weights, or swap blocks to system memory.",
        )
    ]


def explain(found: dict[str, Any]) -> list[str]:
    """One line a number: value, tag, formula."""
    tags = found.get("tags") or {}
    lines = []
    for key, formula in found["formulas"].items():
        tag = f" [{tags[key]}]" if key in tags else ""
        value = found.get(key)
        if isinstance(value, list):
            value = len(value)
        shown = "" if value is None else f" = {value}"
        lines.append(f"{key}{shown}{tag}: {formula}")
    return lines
