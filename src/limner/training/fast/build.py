"""The 20 B transformer made block by block, so that it never stands whole in system memory.

In: a diffusers folder, or nothing but dimensions and a seed. Out: a QwenImageTransformer2DModel on
its device in bf16, fp8, int8 or nf4. Each block is made, quantised and put away before the next.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limner.errors import InputError, first_line
from limner.models import runtime
from limner.training.fast.choice import PUBLISHED, Choice, choice_of
from limner.training.fast.engine import MODULATIONS
from limner.training.fast.quantised import freeze_block
from limner.training.fast.swap import away, keep_share

INDEX = "diffusion_pytorch_model.safetensors.index.json"
SINGLE = "diffusion_pytorch_model.safetensors"

Fill = Callable[[nn.Module, str], None]
"""Put the numbers into a module that has none yet; its name in the model ends with a dot."""


def random_transformer(
    choice: Choice, device: Any, dtype: Any = torch.bfloat16, *, seed: int = 0, **dimensions: Any
) -> Any:
    """The published architecture (or other `dimensions`) with random weights; for measuring.

    Weights ~ N(0, 0.02), norms 1, biases 0: values as quick to multiply as any others.
    """

    def fill(module: nn.Module, name: str) -> None:
        generator = torch.Generator(device).manual_seed(seed + sum(map(ord, name)))
        for key, parameter in module.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.02, generator=generator)
            else:
                parameter.fill_(1.0 if key.endswith("weight") else 0.0)

    return _made({**PUBLISHED, **dimensions}, choice, device, dtype, fill)


def load_transformer(
    folder: Path, choice: Choice, device: Any, dtype: Any = torch.bfloat16,
    member: tuple[int, int] = (0, 1),
) -> Any:  # fmt: skip
    """A diffusers transformer folder -> the model on its device, block by block.

    Needs the memory of the result and one block; the files are mapped, never read whole. member:
    (rank, size) in a team of processes; with `Choice.shard` the result is this process's share, and
    only `install` with that team makes it a model again. Raises InputError for a missing or broken
    file, a missing tensor or one of another shape.
    """
    from safetensors import SafetensorError, safe_open

    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        if (folder / INDEX).exists():
            where = json.loads((folder / INDEX).read_text("utf-8"))["weight_map"]
        else:
            with safe_open(folder / SINGLE, "pt") as file:
                where = dict.fromkeys(file.keys(), SINGLE)
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise _unreadable(folder, first_line(error)) from None
    config = {k: v for k, v in config.items() if not k.startswith("_")}

    def fill(module: nn.Module, name: str) -> None:
        tensors = dict(module.named_parameters(prefix=name.removesuffix(".")))
        files: dict[str, list[str]] = {}
        for key in tensors:
            if key not in where:
                raise _unreadable(folder, f"it has no tensor {key}")
            files.setdefault(where[key], []).append(key)
        try:
            for part, keys in files.items():
                with safe_open(folder / part, "pt") as file:
                    for key in keys:
                        tensors[key].copy_(file.get_tensor(key))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise _unreadable(folder, first_line(error)) from None

    return _made(config, choice, device, dtype, fill, member)


def loader(settings: Mapping[str, Any], device: Any) -> Callable[[Path], Any]:
    """What loads a base's transformer folder as a run's record (`planned`) says."""
    choice = choice_of(settings)
    return lambda folder: load_transformer(folder, choice, device)


def _unreadable(folder: Path, why: str) -> InputError:
    return InputError(
        f"The transformer cannot be read: {why}",
        where=folder.name,
        fix="Download the folder again, or name another base.",
    )


@torch.no_grad()  # type: ignore[untyped-decorator]
def _made(
    config: dict[str, Any], choice: Choice, device: Any, dtype: Any, fill: Fill,
    member: tuple[int, int] = (0, 1),
) -> Any:  # fmt: skip
    runtime.prepare()
    from diffusers import QwenImageTransformer2DModel

    with torch.device("meta"):
        model = QwenImageTransformer2DModel.from_config(config)
    # its tables of positions are no parameters: they are made anew where they are real
    theta, axes = model.pos_embed.theta, model.pos_embed.axes_dim
    model.pos_embed = type(model.pos_embed)(theta=theta, axes_dim=axes, scale_rope=True)
    model.to(dtype).requires_grad_(False).eval()
    for name, child in model.named_children():
        if name not in ("transformer_blocks", "pos_embed"):
            child.to_empty(device=device)
            fill(child, f"{name}.")
    elsewhere = away(len(model.transformer_blocks), choice.swapped, shared=choice.shard)
    skip = MODULATIONS if choice.table else ()
    for i, block in enumerate(model.transformer_blocks):
        block.to_empty(device=device)
        fill(block, f"transformer_blocks.{i}.")
        if choice.table:
            for module in (block.img_mod, block.txt_mod):
                module.to("cpu")
        if choice.precision != "bf16":
            freeze_block(block, choice.precision, skip=skip)
        if choice.shard and member[1] > 1:
            keep_share(block, *member, device, skip)
        elif i in elsewhere:
            block.to("cpu")
    return model
