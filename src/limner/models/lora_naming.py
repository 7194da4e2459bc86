"""Names of LoRA tensors: which programs write which, and the module each one belongs to.

In: a key of a file. Out: naming, module as diffusers calls it, part (down, up, alpha); and back.
"""

from __future__ import annotations

import re
from typing import Literal

Naming = Literal["diffusers", "comfyui", "kohya"]
NAMINGS: tuple[Naming, ...] = ("diffusers", "comfyui", "kohya")
"""diffusers: transformer.X.lora_A; comfyui (ai-toolkit): diffusion_model.X.lora_A; kohya (musubi):
lora_unet_X.lora_down with .alpha."""

BLOCK_LINEARS = (
    *("attn.to_q", "attn.to_k", "attn.to_v", "attn.to_out.0"),
    *("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj", "attn.to_add_out"),
    *("img_mlp.net.0.proj", "img_mlp.net.2", "txt_mlp.net.0.proj", "txt_mlp.net.2"),
    *("img_mod.1", "txt_mod.1"),
)
"""The 14 linears of a block that LoRAs of this model family touch, as diffusers names them."""

TOP_LINEARS = (
    *("img_in", "txt_in", "proj_out", "norm_out.linear"),
    *(f"time_text_embed.timestep_embedder.linear_{n}" for n in (1, 2)),
)
"""The six linears outside the blocks; few trainers touch them."""

PREFIX = "transformer."
COMFY_PREFIX = "diffusion_model."
KOHYA_PREFIX = "lora_unet_"
_FLAT = {name.replace(".", "_"): name for name in (*BLOCK_LINEARS, *TOP_LINEARS)}
_PARTS = {
    "lora_A.weight": "down",
    "lora_B.weight": "up",
    "lora_A.default.weight": "down",
    "lora_B.default.weight": "up",
    "lora_down.weight": "down",
    "lora_up.weight": "up",
    "alpha": "alpha",
}
SILENT_PREFIXES = ("base_model.model.", "unet.", "model.diffusion_model.", "lora_transformer_")
"""Prefixes of which ComfyUI loads no key, without an error (measured on 0.3.64)."""

OTHER_KINDS = {
    "lokr_": "LoKr: diffusers cannot load it for this model",
    "hada_": "LoHa: diffusers cannot load it for this model",
    "dora_scale": "DoRA: diffusers drops the scale and loads another LoRA",
    ".diff": "weight differences, no LoRA",
    "oft_": "OFT, no LoRA",
    "boft_": "BOFT, no LoRA",
}
"""Parts of keys of other adapters, and what becomes of them."""


def parse_key(key: str) -> tuple[str, str, str] | None:
    """Tensor name -> (naming, module as in diffusers, down|up|alpha); None when it is no LoRA key.

    >>> parse_key("lora_unet_transformer_blocks_0_attn_to_out_0.lora_down.weight")
    ('kohya', 'transformer_blocks.0.attn.to_out.0', 'down')
    """
    split = _split(key)
    if split is None:
        return None
    stem, part = split
    for prefix in (KOHYA_PREFIX, "lycoris_"):
        if stem.startswith(prefix):
            module = _unflatten(stem[len(prefix) :])
            return None if module is None else ("kohya", module, part)
    if stem.startswith(SILENT_PREFIXES):
        return None
    for prefix, naming in ((PREFIX, "diffusers"), (COMFY_PREFIX, "diffusion_model")):
        if stem.startswith(prefix):
            return naming, stem[len(prefix) :], part
    return "bare", stem, part


def foreign_key(key: str) -> tuple[str, str, str] | None:
    """(prefix, module, part) of a key that ComfyUI passes over in silence; None for all others."""
    split = _split(key)
    prefix = next((p for p in SILENT_PREFIXES if key.startswith(p)), None)
    if split is None or prefix is None:
        return None
    stem, part = split
    rest = stem[len(prefix) :]
    if prefix == "lora_transformer_":
        module = _unflatten(rest)
        return None if module is None else (prefix, module, part)
    return prefix, rest.removeprefix(PREFIX), part


def _split(key: str) -> tuple[str, str] | None:
    for ending, part in _PARTS.items():
        if key.endswith(f".{ending}"):
            return key[: -len(ending) - 1], part
    return None


def _unflatten(flat: str) -> str | None:
    """`transformer_blocks_0_attn_to_q` -> `transformer_blocks.0.attn.to_q`."""
    found = re.fullmatch(r"transformer_blocks_(\d+)_(\w+)", flat)
    if found is None:
        return _FLAT.get(flat) if _FLAT.get(flat) in TOP_LINEARS else None
    name = _FLAT.get(found[2])
    return f"transformer_blocks.{found[1]}.{name}" if name in BLOCK_LINEARS else None


def known_module(module: str) -> bool:
    """Whether Qwen-Image has a linear of that name (its block number aside)."""
    block = re.fullmatch(r"transformer_blocks\.\d+\.(.+)", module)
    return module in TOP_LINEARS or (block is not None and block[1] in BLOCK_LINEARS)


def write_key(naming: Naming, module: str, part: str) -> str:
    """The tensor name of a module's part (down, up, alpha)."""
    if naming == "kohya":
        ending = {"down": "lora_down.weight", "up": "lora_up.weight", "alpha": "alpha"}[part]
        return f"{KOHYA_PREFIX}{module.replace('.', '_')}.{ending}"
    ending = {"down": "lora_A.weight", "up": "lora_B.weight", "alpha": "alpha"}[part]
    return f"{PREFIX if naming == 'diffusers' else COMFY_PREFIX}{module}.{ending}"
