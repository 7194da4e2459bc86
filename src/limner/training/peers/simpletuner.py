"""SimpleTuner's config.json and data list, with their traps avoided (4.8.0).

In: a `Setup`. Out: `config.json`, `multidatabackend.json`. `repeats` counts extra showings there;
captions are read from files, not from file names; every checkpoint stays.
"""

from __future__ import annotations

import json
from typing import Any

from limner.training.peers.setup import Setup

CONFIG, DATA = "config.json", "multidatabackend.json"


def configs(setup: Setup) -> dict[str, str]:
    """{config.json, multidatabackend.json}; run in this folder."""
    return {CONFIG: _json(config(setup)), DATA: _json(backends(setup))}


def config(setup: Setup) -> dict[str, Any]:
    """config.json: each key is one of its arguments."""
    run = setup.counts
    made: dict[str, Any] = {
        "model_type": "lora",
        "lora_type": "standard",
        "model_family": "qwen_image",
        "model_flavour": setup.base.simpletuner,
        "pretrained_model_name_or_path": setup.weights or setup.base.name,
        "data_backend_config": setup.place(DATA),
        "output_dir": setup.place("output"),
        "lora_rank": setup.rank,
        "lora_alpha": setup.rank,
        "train_batch_size": setup.batch,
        "gradient_accumulation_steps": setup.accumulation,
        "max_train_steps": run.logged_steps,
        "num_train_epochs": 0,
        "checkpoint_step_interval": run.save_every,
        "checkpoints_total_limit": max(run.keep_needed, 1),
        "resume_from_checkpoint": "latest",
        "learning_rate": setup.rate,
        "lr_scheduler": setup.schedule,
        "lr_warmup_steps": 0,
        "optimizer": "adamw_bf16",
        "mixed_precision": "bf16",
        "base_model_precision": "int8-quanto",
        "quantize_via": "cpu",
        "gradient_checkpointing": True,
        "flow_schedule_shift": 1.73,
        "caption_dropout_probability": setup.dropout,
        "resolution": max(setup.resolutions),
        "resolution_type": "pixel_area",
        "seed": setup.seed,
        "report_to": "tensorboard",
        "validation_resolution": "1024x1024",
        "validation_guidance": 4.0,
        "validation_num_inference_steps": 30,
        "validation_seed": setup.seed,
        "validation_step_interval": run.save_every,
    }
    if setup.samples and not setup.edits:
        made["validation_prompt"] = setup.samples[0]["caption"]
    return made


def backends(setup: Setup) -> list[dict[str, Any]]:
    """The data list: sets, their references, and the place of the text encoder's output."""
    rows: list[dict[str, Any]] = []
    side = max(setup.resolutions)
    for group in setup.groups:
        ids = [f"{group['name']}-ref{n}" for n, _ in enumerate(group["controls"], start=1)]
        row: dict[str, Any] = {
            "id": group["name"],
            "type": "local",
            "dataset_type": "image",
            "instance_data_dir": setup.place(group["folder"]),
            "caption_strategy": "textfile",
            "resolution": side,
            "resolution_type": "pixel_area",
            "minimum_image_size": 0,
            "crop": False,
            "cache_dir_vae": setup.place(f"cache/vae/{group['name']}"),
            "repeats": group["repeats"] - 1,
        }
        if ids:
            row["conditioning_data"] = ids
        rows.append(row)
        for name, folder in zip(ids, group["controls"], strict=True):
            rows.append(
                {
                    "id": name,
                    "type": "local",
                    "dataset_type": "conditioning",
                    "conditioning_type": "reference_loose",
                    "instance_data_dir": setup.place(folder),
                    "resolution": setup.control_size,
                    "resolution_type": "pixel_area",
                    "minimum_image_size": 0,
                    "crop": False,
                    "cache_dir_vae": setup.place(f"cache/vae/{name}"),
                }
            )
    rows.append(
        {
            "id": "text",
            "type": "local",
            "dataset_type": "text_embeds",
            "default": True,
            "cache_dir": setup.place("cache/text"),
        }
    )
    return rows


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"
