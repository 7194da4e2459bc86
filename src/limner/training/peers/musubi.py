"""musubi-tuner's data-set TOML and its three commands, with their traps avoided (30c658c).

In: a `Setup`. Out: `dataset.toml`, `train.sh`, `prompts.txt`. Alpha is the rank (its default of 1
trains at 1/rank), sizes are stated (its default is 960 x 544), every checkpoint stays.
"""

from __future__ import annotations

import json
from pathlib import Path

from limner.training.peers.setup import Setup

DATASET, SCRIPT, PROMPTS = "dataset.toml", "train.sh", "prompts.txt"
STEPS = ("cache_latents", "cache_text_encoder_outputs", "train_network")


def configs(setup: Setup) -> dict[str, str]:
    """{dataset.toml, train.sh, prompts.txt}; paths of the weights come from the environment."""
    made = {DATASET: dataset(setup), SCRIPT: script(setup)}
    if setup.samples:
        made[PROMPTS] = prompts(setup)
    return made


def dataset(setup: Setup) -> str:
    """The data sets, each with its own cache folder."""
    side = max(setup.resolutions)
    lines = [
        "[general]",
        f"resolution = [{side}, {side}]",
        'caption_extension = ".txt"',
        f"batch_size = {setup.batch}",
        "enable_bucket = true",
        "bucket_no_upscale = true",
    ]
    for group in setup.groups:
        lines += ["", "[[datasets]]", f"image_directory = {_q(setup.place(group['folder']))}"]
        if group["controls"]:
            size = setup.control_size
            lines.append(f"control_directory = {_q(setup.place(group['controls'][0]))}")
            lines.append(f"control_resolution = [{size}, {size}]")
        lines.append(f"cache_directory = {_q(setup.place('cache/' + group['name']))}")
        lines.append(f"num_repeats = {group['repeats']}")
    return "\n".join(lines) + "\n"


def prompts(setup: Setup) -> str:
    """Sample prompts, one a line; `--ci` names the control picture."""
    rows = []
    for sample in setup.samples:
        control = "".join(f" --ci {setup.place(f)}" for f in sample["controls"])
        rows.append(f"{sample['caption']} --w 1024 --h 1024 --d {setup.seed} --s 25{control}")
    return "\n".join(rows) + "\n"


def arguments(
    setup: Setup, *, dit: str, vae: str, text_encoder: str, output: str, here: str = ""
) -> dict[str, list[str]]:
    """The arguments of its three programs. here: folder of the TOML, with a slash, or ""."""
    version = setup.base.musubi
    data = f"{here}{DATASET}"
    caches = ["--dataset_config", data, "--model_version", version]
    run = setup.counts
    train = [
        *("--dit", dit, "--vae", vae, "--text_encoder", text_encoder),
        *("--model_version", version, "--dataset_config", data),
        *("--sdpa", "--mixed_precision", "bf16", "--fp8_base", "--fp8_scaled"),
        *("--gradient_checkpointing", "--timestep_sampling", "shift"),
        *("--weighting_scheme", "none", "--discrete_flow_shift", "2.2"),
        *("--optimizer_type", "adamw8bit", "--learning_rate", f"{setup.rate:g}"),
        *("--lr_scheduler", setup.schedule),
        *("--network_module", "networks.lora_qwen_image"),
        *("--network_dim", str(setup.rank), "--network_alpha", str(setup.rank)),
        *("--gradient_accumulation_steps", str(setup.accumulation)),
        *("--max_train_steps", str(run.logged_steps)),
        *("--save_every_n_steps", str(run.save_every), "--save_precision", "bf16"),
        *("--save_state", "--save_last_n_steps_state", str(run.save_every)),
        *("--max_data_loader_n_workers", "2", "--persistent_data_loader_workers"),
        *("--seed", str(setup.seed), "--output_dir", output, "--output_name", setup.name),
        *("--logging_dir", f"{output}/logs", "--log_with", "tensorboard"),
    ]
    if setup.samples:
        train += ["--sample_prompts", f"{here}{PROMPTS}"]
        train += ["--sample_every_n_steps", str(run.save_every)]
    return {
        STEPS[0]: [*caches, "--vae", vae],
        STEPS[1]: [*caches, "--text_encoder", text_encoder, "--batch_size", "1"],
        STEPS[2]: train,
    }


def program(step: str, folder: str) -> str:
    """The script of a step in musubi-tuner's folder."""
    return str(Path(folder) / "src" / "musubi_tuner" / f"qwen_image_{step}.py")


def script(setup: Setup) -> str:
    """The three commands; a run is taken up at its newest state."""
    given = arguments(
        setup, dit='"$DIT"', vae='"$VAE"', text_encoder='"$TEXT_ENCODER"', output="output"
    )
    run = setup.counts
    lines = [
        "#!/bin/bash",
        f"# {run.images} pictures, {run.optimizer_steps} updates, {run.image_passes} passes.",
        "set -e",
        'cd "$(dirname "$0")"',
        ': "${MUSUBI:?folder of musubi-tuner}" "${DIT:?bf16 file of the transformer}"',
        ': "${VAE:?file of the autoencoder}" "${TEXT_ENCODER:?file of the text encoder}"',
    ]
    for step in STEPS[:2]:
        lines.append(
            f'python "$MUSUBI/src/musubi_tuner/qwen_image_{step}.py" {" ".join(given[step])}'
        )
    lines += [
        "state=$(ls -dt output/*-state 2>/dev/null | head -n 1)",
        "accelerate launch --num_cpu_threads_per_process 1 --mixed_precision bf16 \\",
        '  "$MUSUBI/src/musubi_tuner/qwen_image_train_network.py" \\',
        f"  {' '.join(given[STEPS[2]])} \\",
        '  ${state:+--resume "$state"}',
    ]
    return "\n".join(lines) + "\n"


def _q(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)
