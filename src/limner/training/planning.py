"""The plan of a run, before an hour is spent: steps, passes, checkpoints, memory, time.

In: a dataset and `training` of character.yaml. Out: a numbered plan record that `train` follows.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from limner.errors import InputError, MissingExtraError
from limner.models import BaseInfo, lora, resolve_base, tensorfile
from limner.project import Project
from limner.project.files import canonical_json, sha256_bytes
from limner.project.records import Dataset, Plan
from limner.project.settings import TrainingSettings
from limner.training import arithmetic, data, kernels, timing
from limner.training.config import RunConfig
from limner.training.rules import RULES, rules

CHARACTERS_A_TOKEN = 3
"""Letters a text token, for the memory estimate only."""


def plan(project: Project, *, measure: bool = True) -> dict[str, Any]:
    """Plan the next run and record it. measure: False takes only a pace that is known already.

    Returns the plan (see docs/training.md): counts, checkpoints with the guide's names beside
    them, memory, seconds (None with a reason when not measured), warnings. An equal plan keeps its
    version; a pace that is known only now makes a new one of the same run. Raises NotReadyError
    without a dataset, InputError for a wrong picture, base or setting, UsageError when wanted
    checkpoints would be deleted.
    """
    dataset = data.newest_dataset(project)
    settings = project.character.training
    train, held_out = data.read_dataset(project, dataset)
    data.refuse_changed(dataset, train, held_out)
    info = resolve_base(settings.base)
    config, shapes = _config(settings, info, dataset, train, held_out)
    arithmetic.refuse_pruning(len(config.checkpoints), settings.keep)
    memory = _memory(config, info, train, shapes)
    chosen = _fast(settings, info, config, memory)
    config = replace(
        config,
        gradient_checkpointing=not chosen and _needs_checkpointing(config.device, memory),
        attention=kernels.attention(config.device, memory["tokens"], config.values),
        fast=chosen,
    )
    if chosen and config.device == "cuda":
        memory = _as_chosen(memory, config, _dimensions(info))
    kept = current_plan(project)
    if kept is not None and _has_begun(project, kept):
        # a run goes on as it began, whatever else fills the memory of this machine now
        config = RunConfig.from_json(kept.data["config"])
    pace, reason = _pace(project, config, info, train, held_out, measure=measure)
    count = arithmetic.counts(len(train), config.batch, config.steps)
    found = {
        **asdict(count),
        "held_out": len(held_out),
        "checkpoints": [asdict(m) for m in _marks(config)],
        "seconds": None if pace is None else _seconds(pace, config, len(train) + len(held_out)),
        "seconds_reason": reason,
        "seconds_per_step": None if pace is None else round(pace.step, 4),
        "pace_origin": None if pace is None else pace.origin,
        "memory": memory,
        "disk_bytes": arithmetic.disk_bytes(
            memory["lora_parameters"], len(config.checkpoints), _value_bytes(config.device)
        ),
        "buckets": [
            {"width": b.width, "height": b.height, "images": len(b.items)}
            for b in data.buckets(train, config.resolution)
        ],
        "guide": arithmetic.guide_readings(
            len(train), project.character.dataset.repeats, count.image_passes
        ),
        "warnings": _warnings(config, info, train, held_out, memory),
        "base": info.as_dict(),
        "config": config.as_json(),
        "inputs_sha256": _inputs(settings, info, config),
    }
    version = _version(project, dataset, kept, found)
    return {"version": version, "dataset_version": dataset.version, **found}


def _has_begun(project: Project, kept: Plan) -> bool:
    """Whether the newest run is this plan's own."""
    run = project.store.run()
    config = RunConfig.from_json(kept.data["config"])
    return run is not None and run.config.get("sha256") == config.sha256()


def _version(project: Project, dataset: Dataset, kept: Plan | None, found: dict[str, Any]) -> int:
    """The number of a plan: its old one where it plans the same, else that of a new record."""
    run = project.store.run()
    begun = kept is not None and _has_begun(project, kept)
    same = ("config", "seconds")  # free memory and what follows from it differ at every look
    if kept is not None and all(
        canonical_json(kept.data.get(name)) == canonical_json(found[name]) for name in same
    ):
        return kept.version
    version = project.store.add_plan(dataset_version=dataset.version, data=found)
    if begun and run is not None:  # the same run, its pace known by now
        project.store.update_run(run.version, plan_version=version)
    return version


def current_plan(project: Project) -> Plan | None:
    """The newest plan if it fits the newest dataset, the settings and the base of now."""
    found = project.store.plan()
    dataset = project.store.dataset()
    if found is None or dataset is None or found.dataset_version != dataset.version:
        return None
    settings = project.character.training
    train, held_out = data.read_dataset(project, dataset)
    info = resolve_base(settings.base)
    try:
        config = RunConfig.from_json(found.data["config"])
    except (KeyError, TypeError):
        return None  # written by another version of Limner
    if set(config.values) != set(RULES):
        return None
    same_data = config.data_sha256 == data.data_sha256(train, held_out)
    same = same_data and found.data.get("inputs_sha256") == _inputs(settings, info, config)
    return found if same else None


def _inputs(settings: TrainingSettings, info: BaseInfo, config: RunConfig) -> str:
    """Hash of what a person or a file gave to the plan; what was measured stays out."""
    facts = {
        "settings": settings.model_dump(),
        "base": info.fingerprint,
        "data": config.data_sha256,
        "device": _device(),
    }
    return sha256_bytes(canonical_json(facts).encode())


def _device() -> str:
    """cuda when torch is installed and sees a GPU, else cpu."""
    if find_spec("torch") is None:
        return "cpu"
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def _threads(most: float) -> int:
    """OMP_NUM_THREADS if the user set it, else at most `most`."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdigit() and int(given) > 0:
        return int(given)
    return min(int(most), os.cpu_count() or 1)


def _config(
    settings: TrainingSettings,
    info: BaseInfo,
    dataset: Dataset,
    train: list[data.Picture],
    held_out: list[data.Picture],
) -> tuple[RunConfig, list[tuple[int, int]]]:
    """The run's record with all defaults resolved, and the shapes of the linears it trains."""
    steps = settings.steps or info.train_steps
    marks = arithmetic.checkpoint_marks(steps, settings.checkpoints)
    modules = lora.base_modules(Path(info.path))
    shapes = [
        shape
        for name, shape in modules.items()
        if any(name.endswith(f".{target}") for target in lora.TARGETS)
    ]
    if not shapes:
        raise InputError(
            "The base has none of the linears that Limner trains",
            where=info.name,
            fix="Use a Qwen-Image or Qwen-Image-Edit base in diffusers layout.",
        )
    device = _device()
    values = rules(settings.thresholds)
    config = RunConfig(
        base=info.name,
        base_fingerprint=info.fingerprint,
        template=settings.template,
        resolution=settings.resolution or info.resolution,
        rank=settings.rank,
        targets=lora.TARGETS,
        learning_rate=settings.learning_rate or info.learning_rate,
        steps=steps,
        batch=settings.batch or info.batch,
        checkpoints=tuple(m.step for m in marks),
        precision=kernels.precision(device, settings.precision),
        attention="default",
        threads=_threads(values["cpu_threads"]),
        device=device,
        gradient_checkpointing=False,
        seed=settings.seed,
        caption_dropout=settings.caption_dropout,
        dataset_version=dataset.version,
        data_sha256=data.data_sha256(train, held_out),
        samples=settings.samples,
        values=values,
        **_control(settings, info, values),
        face_weight=_face_weight(settings, info),
        schedule=settings.schedule,
        ema=settings.ema,
        processes=_processes(settings, info, device),
        wandb=settings.wandb,
    )
    return config, shapes


def _control(
    settings: TrainingSettings, info: BaseInfo, values: Mapping[str, float]
) -> dict[str, Any]:
    """The run's control fields. Raises InputError for what the template or base cannot do."""
    info.require_template(settings.template)
    edit = settings.template == "edit"
    mode = settings.control if settings.control != "auto" else "self" if edit else "none"
    if mode != "none" and not edit:
        raise InputError(
            f"The text-to-image template shows no picture, so training.control {mode} has no use",
            where="character.yaml, training.control",
            fix="Set training.template to edit, or training.control to none.",
        )
    side = settings.control_size if mode != "none" else 0
    pictures = settings.control_pictures if mode != "none" else 1
    return {"control": mode, "control_area": side * side, "control_pictures": pictures}


def _face_weight(settings: TrainingSettings, info: BaseInfo) -> float:
    """The user's, else the base's where faces can be found. Raises MissingExtraError when the user
    wants one and nothing here finds faces."""
    from limner.vision import faces

    reason = faces.available("drawing" if info.is_drawing else "photo")
    if settings.face_weight not in (0.0, 1.0) and reason is not None:
        raise MissingExtraError(
            f"The loss cannot be weighted by the face: {reason}",
            where="character.yaml, training.face_weight",
            fix="Install it, or set training.face_weight to 1.",
        )
    return settings.face_weight or (info.face_weight if reason is None else 1.0)


WIDE = 1024
"""From this width on a transformer is worth the fast choices' start-up (compiling, quantising)."""


def _fast(
    settings: TrainingSettings, info: BaseInfo, config: RunConfig, memory: dict[str, Any]
) -> dict[str, Any]:
    """The fast choices of a run: on a GPU what fits its memory, and over it the user's own.

    Raises InputError for a name that is no choice, or when nothing fits.
    """
    from limner.training import fast

    if settings.fast:
        known = {f.name for f in fields(fast.Choice)} | {"optimizer_bits"}
        wrong = sorted(set(settings.fast) - known)
        if wrong:
            raise InputError(
                f"training.fast has no {', '.join(wrong)}",
                where="character.yaml, training.fast",
                fix=f"Known are: {', '.join(sorted(known))}.",
            )
        if settings.fast.get("shard") and (settings.fast.get("swapped") or config.processes < 2):
            raise InputError(
                "A base is shared between processes, and then none of its blocks are swapped",
                where="character.yaml, training.fast",
                fix="Set training.processes to 2 or more, and no training.fast.swapped.",
            )
    size = _dimensions(info)
    if config.device != "cuda" or size["width"] < WIDE:
        return dict(settings.fast)
    each = -(-config.batch // config.processes)
    there, tokens = memory["there"], memory["tokens"]
    found = fast.planned(there, tokens, batch=each, rank=config.rank, **size)
    return {**found, **settings.fast}


def _dimensions(info: BaseInfo) -> dict[str, Any]:
    """Blocks, width and the text embeddings' width of a base's transformer."""
    modules = lora.base_modules(Path(info.path))
    return {
        "blocks": sum(name.endswith(".attn.to_q") for name in modules),
        "width": modules["transformer_blocks.0.attn.to_q"][0],
        "joint": modules["txt_in"][1],
    }


def _as_chosen(
    memory: dict[str, Any], config: RunConfig, size: Mapping[str, int]
) -> dict[str, Any]:
    """The estimate of a run with fast choices on a GPU: what `fast.memory` says of them."""
    from limner.training import fast
    from limner.training.fast import memory as model

    choice = fast.choice_of(config.fast)
    work = model.Work(
        memory["tokens"],
        -(-config.batch // config.processes),
        config.rank,
        int(config.fast.get("optimizer_bits", 32)),
        config.processes,
    )
    found = model.forecast(choice, work, model.Shape(**size))
    peak = round(max(found.bytes, memory["encoders_while_caching"]))
    return {
        **memory,
        "transformer": round(found.parts["weights"]),
        "lora_and_optimizer": round(found.parts["lora"] + found.parts["moments"]),
        "activations": round(found.parts["activations"]),
        "activations_checkpointed": round(found.parts["activations"]),
        "unpacked": round(found.parts["unpacked"]),
        "context": round(found.parts["context"]),
        "peak": peak,
        "peak_checkpointed": peak,
        "system": round(found.system),
        "choice": f"{choice.precision} weights",
    }


def _processes(settings: TrainingSettings, info: BaseInfo, device: str) -> int:
    """How many processes share a batch. Raises InputError when it cannot be shared."""
    batch, count = settings.batch or info.batch, settings.processes
    if batch % count:
        raise InputError(
            f"A batch of {batch} cannot be shared evenly by {count} processes",
            where="character.yaml, training.processes",
            fix="Set training.batch to a multiple of training.processes.",
        )
    if device == "cuda" and count > 1:
        import torch

        if torch.cuda.device_count() < count:
            raise InputError(
                f"{count} processes need as many GPUs; {torch.cuda.device_count()} are here",
                where="character.yaml, training.processes",
            )
    return count


def _marks(config: RunConfig) -> list[arithmetic.Mark]:
    return arithmetic.checkpoint_marks(config.steps, len(config.checkpoints))


def _value_bytes(device: str) -> int:
    return 4 if device == "cpu" else 2


def _parameters(folder: Path) -> int:
    """Values in all weight files of a part of the base, from their headers."""
    return sum(
        math.prod(entry["shape"])
        for file in sorted(folder.glob("*.safetensors"))
        for entry in tensorfile.header(file)[0].values()
    )


def _memory(
    config: RunConfig, info: BaseInfo, train: list[data.Picture], shapes: list[tuple[int, int]]
) -> dict[str, Any]:
    """The memory estimate in bytes by part, with what it is made of."""
    folder = Path(info.path)
    blocks = [n for n in lora.base_modules(folder) if n.endswith(".attn.to_q")]
    width = lora.base_modules(folder)[blocks[0]][0]
    largest = max(b.width * b.height for b in data.buckets(train, config.resolution))
    tokens = largest // 256 + max(len(p.caption) for p in train) // CHARACTERS_A_TOKEN
    if config.control != "none":
        area = (config.control_area or info.reference_area) + info.condition_area // 4
        tokens += config.control_pictures * area // 256
    value = _value_bytes(config.device)
    parameters = arithmetic.lora_parameters(shapes, config.rank)
    estimate = arithmetic.memory_estimate(
        arithmetic.Shape(
            layers=len(blocks),
            width=width,
            batch=config.batch,
            tokens=tokens,
            lora_parameters=parameters,
            transformer_bytes=_parameters(folder / "transformer") * value,
            encoder_bytes=_parameters(folder / "text_encoder") * value
            + _parameters(folder / "vae") * value,
            bytes_per_value=value,
        ),
        config.values["activations_per_token"],
    )
    return {
        **estimate,
        "lora_parameters": parameters,
        "tokens": tokens,
        "there": _memory_there(config.device),
        "origin": "estimate",
    }


def _memory_there(device: str) -> int:
    """Bytes of memory this machine has for a run: the GPU's, or the free part of RAM."""
    if device == "cuda":
        import torch

        return int(torch.cuda.get_device_properties(0).total_memory)
    try:
        return int(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        return 0


def _needs_checkpointing(device: str, memory: dict[str, Any]) -> bool:
    """Gradient checkpointing costs a third more time: only where the plain way does not fit."""
    return bool(memory["there"]) and memory["peak"] > 0.9 * memory["there"]


def _pace(
    project: Project,
    config: RunConfig,
    info: BaseInfo,
    train: list[data.Picture],
    held_out: list[data.Picture],
    *,
    measure: bool,
) -> tuple[timing.Pace | None, str | None]:
    """(pace, None) or (None, why there is none)."""
    folder = pace_folder(project)
    name = timing.key(config)
    known = timing.read(folder, name)
    if known is not None:
        return known, None
    if not measure:
        return None, "not timed: asked not to"
    if find_spec("torch") is None or find_spec("diffusers") is None:
        return (
            None,
            "not timed: torch and diffusers are not installed (pip install 'limner[train]')",
        )
    size = sum(f.stat().st_size for f in Path(info.path).rglob("*.safetensors"))
    limit = config.values["timing_limit_mb"]
    if size > limit * 1e6:
        return None, (
            f"not timed: the base is {size / 1e9:.0f} GB and would have to be loaded; "
            "`limner train --stop-after 20` measures it"
        )
    captions = sorted((p.caption for p in train), key=len)
    shown = min(len(held_out), int(config.values["held_out_pictures"]))
    pace = timing.measure(info, config, [captions[0], captions[-1]], shown)
    timing.write(folder, name, pace)
    return pace, None


def pace_folder(project: Project) -> Path:
    """Where measured paces are kept."""
    return project.root / ".limner" / "cache" / "pace"


def _seconds(pace: timing.Pace, config: RunConfig, pictures: int) -> float:
    """Steps, fixed-noise losses and encoding; without the seconds that loading a base takes."""
    checks = (len(config.checkpoints) + 1) * pace.held_out
    return round(config.steps * pace.step + checks + pictures * (pace.encode or 0), 1)


def _warnings(
    config: RunConfig,
    info: BaseInfo,
    train: list[data.Picture],
    held_out: list[data.Picture],
    memory: dict[str, Any],
) -> list[str]:
    """What a user should know before starting; one sentence each."""
    found = []
    if config.steps > config.values["many_steps"]:
        found.append(f"{config.steps} steps are far more than the guide's 3,400.")
    share = config.values["small_picture"]
    small = [p for p in train if p.width * p.height < share * config.resolution**2]
    if small:
        many = "1 picture is" if len(small) == 1 else f"{len(small)} pictures are"
        found.append(
            f"{many} smaller than {config.resolution} x {config.resolution}: trained at "
            f"{'its' if len(small) == 1 else 'their'} own size, never enlarged."
        )
    if not held_out:
        found.append(
            "No picture is held out: there will be no fixed-noise loss, and no gap that shows what "
            "is learned by heart."
        )
    if memory["there"] and memory["peak_checkpointed"] > memory["there"]:
        how = f"with {memory['choice']}" if "choice" in memory else "with gradient checkpointing"
        found.append(
            f"About {memory['peak_checkpointed'] / 1e9:.1f} GB are needed even {how}, "
            f"{memory['there'] / 1e9:.1f} GB are there: it will not fit."
        )
    return found
