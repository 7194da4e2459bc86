"""kohya's data-set TOML and diffusers' own example script, as commands.

In: a `Setup`. Out: their files. kohya's sd-scripts train no Qwen-Image; its layout is what many
tools read. diffusers' example trains Qwen-Image text to image only.
"""

from __future__ import annotations

import json

from limner.training.peers.setup import Setup

SCRIPT = "train.sh"


def kohya(setup: Setup) -> dict[str, str]:
    """dataset.toml of sd-scripts; `train/` beside it holds the numbered folders only."""
    side = max(setup.resolutions)
    lines = [
        "# The folder names carry the repeats too: train_data_dir = train reads the same set.",
        "[general]",
        'caption_extension = ".txt"',
        "enable_bucket = true",
        "bucket_no_upscale = true",
        "",
        "[[datasets]]",
        f"resolution = {side}",
        f"batch_size = {setup.batch}",
    ]
    for group in setup.groups:
        lines += [
            "",
            "  [[datasets.subsets]]",
            f"  image_dir = {json.dumps(setup.place(group['folder']))}",
            f"  num_repeats = {group['repeats']}",
            f"  class_tokens = {json.dumps(setup.trigger)}",
        ]
    return {"dataset.toml": "\n".join(lines) + "\n"}


def diffusers(setup: Setup) -> dict[str, str]:
    """train.sh for `examples/dreambooth/train_dreambooth_lora_qwen_image.py`."""
    run = setup.counts
    arguments = [
        *("--pretrained_model_name_or_path", setup.weights or "Qwen/Qwen-Image"),
        *("--dataset_name", "."),
        *("--image_column", "image", "--caption_column", "text"),
        *("--instance_prompt", json.dumps(setup.trigger)),
        *("--rank", str(setup.rank), "--resolution", str(max(setup.resolutions))),
        *("--train_batch_size", str(setup.batch)),
        *("--gradient_accumulation_steps", str(setup.accumulation)),
        *("--learning_rate", f"{setup.rate:g}", "--lr_scheduler", setup.schedule),
        *("--max_train_steps", str(run.logged_steps)),
        *("--checkpointing_steps", str(run.save_every)),
        *("--mixed_precision", "bf16", "--gradient_checkpointing", "--use_8bit_adam"),
        *("--cache_latents", "--seed", str(setup.seed), "--output_dir", "output"),
    ]
    lines = [
        "#!/bin/bash",
        "# diffusers' example trains Qwen-Image (text to image); it has no edit script.",
        "set -e",
        'cd "$(dirname "$0")"',
        ': "${DIFFUSERS:?folder of the diffusers repository}"',
        "accelerate launch \\",
        '  "$DIFFUSERS/examples/dreambooth/train_dreambooth_lora_qwen_image.py" \\',
        f"  {' '.join(arguments)}",
    ]
    return {SCRIPT: "\n".join(lines) + "\n"}
