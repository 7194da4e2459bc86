"""Where each number of a project's plan comes from, in one line each.

In: a plan as `limner.training.plan` returns it. Out: lines for people.
"""

from __future__ import annotations

from typing import Any


def explain_plan(found: dict[str, Any]) -> list[str]:
    """Value, tag and origin of every number of a recorded plan."""
    config = found["config"]
    points = found["checkpoints"]
    lines = [
        f"images = {found['images']}: pictures of dataset {found['dataset_version']}; "
        f"{found['held_out']} more are held out and never trained on",
        f"optimizer_steps = {found['optimizer_steps']}: training.steps of character.yaml, else the "
        "base's own default",
        f"image_passes = {found['image_passes']}: steps x batch {found['batch']}, "
        f"{found['turns']:.3g} a picture",
        f"checkpoints = {len(points)}: training.checkpoints, evenly spaced, the last at the end; "
        "epoch k of 10 is the guide's name for a tenth of the run",
        f"learning_rate = {config['learning_rate']:g}: training.learning_rate, else the base's own "
        f"default; training.schedule {config.get('schedule', 'constant')} after "
        f"{config['values']['warmup_steps']:g} steps of warm-up",
        f"face_weight = {config.get('face_weight', 1.0):g}: training.face_weight, else the base's "
        "own default; so much more the loss counts in the face, 1 = everywhere alike",
        f"rank = {config['rank']}: training.rank; 16 is what ai-toolkit, musubi-tuner and the "
        "guide publish, no ablation [community]",
    ]
    if found["held_out"]:
        shown = min(found["held_out"], int(config["values"]["held_out_pictures"]))
        lines.append(
            f"fixed-noise losses = {len(points) + 1}: at step 0 and every checkpoint, on {shown} "
            f"held-out pictures and as many training pictures, {shown} x 2 x "
            f"{config['values']['held_out_levels']:g} levels; the gap between them grows with what "
            "is learned by heart"
        )
    if found["seconds"] is None:
        lines.append(f"seconds = not measured: {found['seconds_reason']}")
    else:
        lines.append(
            f"seconds = {found['seconds']:g} [measured]: {found['optimizer_steps']} steps x "
            f"{found['seconds_per_step']:g} s on this machine ({found['pace_origin']}), with "
            "fixed-noise losses and encoding, without loading the base"
        )
    lines += [
        _memory(found["memory"], checkpointing=config["gradient_checkpointing"]),
        f"disk = {found['disk_bytes'] / 1e6:.0f} MB [modelled]: {len(points)} checkpoints and the "
        "state twice",
        f"guide: {found['guide']['note']}",
    ]
    return lines


def _memory(memory: dict[str, Any], *, checkpointing: bool) -> str:
    """The peak as a sum of its parts; where caching needs more than training, that is the peak."""
    way = "_checkpointed" if checkpointing else ""
    peak = memory[f"peak{way}"]
    parts = {
        "weights": memory["transformer"],
        "LoRA and optimizer": memory["lora_and_optimizer"],
        f"activations of {memory['tokens']} tokens": memory[f"activations{way}"],
        "weights unpacked for one layer": memory.get("unpacked", 0),
        "the GPU's own context": memory.get("context", 0),
    }
    training = sum(parts.values())
    said = " + ".join(f"{name} {value / 1e9:.3g}" for name, value in parts.items() if value)
    if peak > 1.001 * training:  # beyond what rounding to bytes does
        encoders = memory["encoders_while_caching"]
        beside = f" + weights {memory['transformer'] / 1e9:.3g}" if peak > 1.001 * encoders else ""
        said = (
            f"caching, encoders {encoders / 1e9:.3g}{beside}; training itself needs "
            f"{training / 1e9:.3g} = {said}"
        )
    return (
        f"memory = {peak / 1e9:.3g} GB [modelled]: {said}; {memory['there'] / 1e9:.3g} GB are there"
    )
