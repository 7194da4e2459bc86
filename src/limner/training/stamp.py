"""What a checkpoint's header says: ModelSpec 1.0.1, kohya's ss_ keys, and Limner's own.

In: the run. Out: strings only, the same for the same run and step; no path, no clock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import limner
from limner.models import lora
from limner.project import Project
from limner.project.files import canonical_json, sha256_bytes
from limner.project.records import Dataset, Run
from limner.training.config import RunConfig
from limner.training.data import Picture


def public_name(base: str) -> str:
    """A base's name without the folders of this machine."""
    return Path(base).name if base.startswith(("/", ".", "~")) or base.count("/") > 1 else base


def header(
    project: Project,
    run: Run,
    dataset: Dataset,
    config: RunConfig,
    captions: list[str],
    folder: Path,
) -> dict[str, str]:
    """The metadata that all checkpoints of a run share. folder: the base's."""
    character = project.character
    side = config.resolution
    spec = {
        "sai_model_spec": lora.MODELSPEC,
        "architecture": lora.architecture(folder),
        "implementation": "diffusers",
        "title": f"{character.name} ({character.trigger})",
        "description": f"LoRA of one character; call it with the word {character.trigger}.",
        "date": run.created_at,
        "resolution": f"{side}x{side}",
        "trigger_phrase": character.trigger,
        "tags": "character, lora",
    }
    return {
        **{f"modelspec.{key}": value for key, value in spec.items()},
        **_kohya(project, run, config, captions),
        "limner.version": limner.__version__,
        "limner.run": str(run.version),
        "limner.base": public_name(config.base),
        "limner.base_fingerprint": config.base_fingerprint,
        "limner.template": config.template,
        "limner.control": config.control,
        "limner.control_size": str(math.isqrt(config.control_area)) if config.control_area else "",
        "limner.precision": config.precision,
        "limner.base_precision": str(config.fast.get("precision", "")) or "as stored",
        "limner.likeness": character.likeness,
        "limner.lock_sha256": dataset.lock_sha256,
        "limner.dataset_sha256": config.data_sha256,
        "limner.caption_sha256": sha256_bytes(canonical_json(captions).encode()),
        "limner.config_sha256": config.sha256(),
    }


def _kohya(project: Project, run: Run, config: RunConfig, captions: list[str]) -> dict[str, str]:
    """The ss_ keys that LoRA managers read."""
    trigger = project.character.trigger
    value = config.values
    return {
        "ss_output_name": trigger,
        "ss_base_model_version": "qwen_image",
        "ss_sd_model_name": public_name(config.base),
        "ss_training_started_at": str(datetime.fromisoformat(run.created_at).timestamp()),
        "ss_training_comment": f"base {config.base_fingerprint}",
        "ss_num_train_items": str(len(captions)),
        "ss_max_train_steps": str(config.steps),
        "ss_total_batch_size": str(config.batch),
        "ss_gradient_accumulation_steps": "1",
        "ss_gradient_checkpointing": str(config.gradient_checkpointing),
        "ss_learning_rate": f"{config.learning_rate:g}",
        "ss_lr_scheduler": "constant_with_warmup" if config.schedule == "constant" else "cosine",
        "ss_lr_warmup_steps": f"{value['warmup_steps']:g}",
        "ss_optimizer": f"AdamW(weight_decay={value['weight_decay']:g})",
        "ss_resolution": f"({config.resolution}, {config.resolution})",
        "ss_max_grad_norm": f"{value['max_grad_norm']:g}",
        "ss_mixed_precision": "bf16" if config.precision == "bf16" else "no",
        "ss_seed": str(config.seed),
        **({"ss_ema_decay": f"{config.ema:g}"} if config.ema else {}),
        "ss_caption_dropout_rate": f"{config.caption_dropout:g}",
        "ss_timestep_sampling": "qwen_shift",
        "ss_network_module": "peft.LoraConfig",
        "ss_network_dim": str(config.rank),
        "ss_network_alpha": str(config.rank),
        "ss_tag_frequency": json.dumps({f"1_{trigger}": {trigger: len(captions)}}),
    }


def dataset_dirs(pictures: Sequence[Picture]) -> str:
    """kohya's `ss_dataset_dirs`: folder -> pictures and how often each came in one turn."""
    found: dict[str, dict[str, int]] = {}
    for picture in pictures:
        name = picture.name.rpartition("/")[0]
        entry = found.setdefault(name, {"n_repeats": picture.weight, "img_count": 0})
        entry["img_count"] += 1
    return json.dumps(found)


def at_step(shared: dict[str, str], step: int) -> dict[str, str]:
    """The shared metadata with the step of one checkpoint."""
    return {**shared, "limner.step": str(step), "ss_steps": str(step)}
