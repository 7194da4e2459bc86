"""ai-toolkit's own YAML, with its known faults avoided (0.12.26).

In: a `Setup`. Out: `train.yaml`. Every key is one that its classes read; every checkpoint is kept;
repeats stand where they count; text-to-image samples draw at the trained size.
"""

from __future__ import annotations

import json

from limner.training.peers.setup import Setup

CONFIG = "train.yaml"


def configs(setup: Setup) -> dict[str, str]:
    """{train.yaml: text}."""
    return {CONFIG: text(setup)}


def arch(setup: Setup) -> str:
    """`arch`: references need the edit one; without them it would stop, so text to image."""
    if setup.base.edit and not setup.edits:
        return "qwen_image"
    return setup.base.aitoolkit


def text(setup: Setup, training_folder: str = "output") -> str:
    """The file. training_folder: where ai-toolkit makes the run's folder `<name>/`."""
    run = setup.counts
    lines = [
        f"# {run.images} pictures, {run.optimizer_steps} updates, {run.image_passes} image passes.",
        *(f"# {c.label}: {c.file}" for c in run.checkpoints),
        "job: extension",
        "config:",
        f"  name: {_q(setup.name)}",
        "  process:",
        "    - type: diffusion_trainer",
        f"      training_folder: {_q(training_folder)}",
        "      device: cuda:0",
        f"      trigger_word: {_q(setup.trigger)}",
        f"      training_seed: {setup.seed}",
        "      # alpha = rank whatever is written: ai-toolkit ignores linear_alpha on Qwen",
        f"      network: {{type: lora, linear: {setup.rank}, linear_alpha: {setup.rank}}}",
        "      save:",
        "        dtype: bf16",
        f"        save_every: {run.save_every}",
        "        # the default of 5 would delete early checkpoints, often the better ones",
        f"        max_step_saves_to_keep: {max(run.keep_needed + 2, 10)}",
        "      datasets:",
    ]
    for group in setup.groups:
        lines += [
            f"        - folder_path: {_q(setup.place(group['folder']))}",
            *_control_lines(setup, group["controls"]),
            "          caption_ext: txt",
            f"          caption_dropout_rate: {setup.dropout:g}",
            f"          num_repeats: {group['repeats']}",
            f"          resolution: {list(setup.resolutions)}  # each size is another copy",
            "          cache_latents_to_disk: true",
        ]
    lines += [
        "      train:",
        f"        batch_size: {setup.batch}",
        f"        steps: {run.logged_steps}",
        f"        gradient_accumulation: {setup.accumulation}",
        "        train_unet: true",
        "        train_text_encoder: false",
        "        gradient_checkpointing: true",
        "        noise_scheduler: flowmatch",
        "        timestep_type: weighted",
        "        optimizer: adamw8bit",
        "        optimizer_params: {weight_decay: 1.0e-4}",
        f"        lr: {_float(setup.rate)}",
        f"        lr_scheduler: {setup.schedule}",
        "        dtype: bf16",
        "        cache_text_embeddings: true",
        "      model:",
        f"        name_or_path: {_q(setup.weights or setup.base.name)}",
        f"        arch: {_q(arch(setup))}",
        "        quantize: true",
        "        qtype: qfloat8",
        "        quantize_te: true",
        "        qtype_te: qfloat8",
        "        low_vram: true",
        "      logging: {log_every: 1, use_ui_logger: true}",
        "      sample:",
        "        sampler: flowmatch",
        f"        sample_every: {run.save_every}",
        "        width: 1024",
        "        height: 1024",
        f"        seed: {setup.seed}",
        "        walk_seed: true",
        "        guidance_scale: 3",
        "        sample_steps: 25",
        *_sample_lines(setup),
        'meta: {name: "[name]", version: "1.0"}',
    ]
    return "\n".join(lines) + "\n"


def _control_lines(setup: Setup, controls: list[str]) -> list[str]:
    if not controls:
        return []
    return [f"          control_path: {json.dumps([setup.place(c) for c in controls])}"]


def _sample_lines(setup: Setup) -> list[str]:
    if not setup.samples:
        return []
    lines = ["        samples:"]
    for sample in setup.samples:
        given = {"prompt": sample["caption"]}
        for number, file in enumerate(sample["controls"], start=1):
            given[f"ctrl_img_{number}"] = setup.place(file)
        lines.append(f"          - {json.dumps(given, ensure_ascii=False)}")
    return lines


def _q(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _float(value: float) -> str:
    """A float with a dot: YAML 1.1 reads `1e-4` as a text."""
    mantissa, exponent = f"{value:e}".split("e")
    digits = mantissa.rstrip("0").rstrip(".")
    return f"{digits}{'' if '.' in digits else '.0'}e{int(exponent):+03d}".replace("e+00", "")
