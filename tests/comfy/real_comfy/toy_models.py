"""Writes toy checkpoints under the official names: `launch.py TREE toy_models.py FOLDER --cpu`.

In: the models folder. Out: transformer, text encoder and autoencoder, seeded normal noise in the
shapes that ComfyUI's own (shrunken) classes ask for.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """argv: folder; the rest is ComfyUI's."""
    import comfy.options

    comfy.options.enable_args_parsing()
    folder = Path(sys.argv.pop(1))
    import comfy.ops
    import torch
    from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
    from comfy.ldm.wan.vae import WanVAE
    from comfy.text_encoders.llama import Qwen25_7BVLI

    sys.path.insert(0, str(Path(__file__).parent))
    import toy_qwen  # noqa: F401  (patches the classes)

    ops = comfy.ops.manual_cast
    given = {"dtype": torch.float32, "device": "cpu"}
    parts: dict[str, tuple[Any, dict[str, float]]] = {
        "diffusion_models/qwen_image_edit_2509_fp8_e4m3fn.safetensors": (
            QwenImageTransformer2DModel(num_layers=2, operations=ops, **given),
            {},
        ),
        "text_encoders/qwen_2.5_vl_7b_fp8_scaled.safetensors": (
            Qwen25_7BVLI({}, torch.float32, "cpu", ops),
            {},
        ),
        "vae/qwen_image_vae.safetensors": (
            WanVAE(dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[]),
            {},
        ),
    }
    for number, (name, (module, _)) in enumerate(parts.items()):
        _write(folder / name, module, number)


def _write(path: Path, module: Any, seed: int) -> None:
    import torch
    from safetensors.torch import save_file

    noise = torch.Generator().manual_seed(seed)
    weights = {}
    for key, value in module.state_dict().items():
        plain = torch.randn(value.shape, generator=noise)
        one = "norm" in key or key.endswith("gamma")
        width = value.shape[1] if value.dim() > 1 else 1
        scale = 0.02 if value.dim() == 1 else (width * value[0, 0].numel()) ** -0.5
        weights[key] = ((1 + 0.1 * plain) if one and value.dim() == 1 else scale * plain).float()
        if key.endswith("gamma"):
            weights[key] = (1 + 0.1 * plain).float()
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in weights.items()}, path)


if __name__ == "__main__":
    main()
