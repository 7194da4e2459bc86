"""The same step in musubi-tuner's own code: its model, its LoRA network, its checkpointing.

In: a checkout of kohya-ss/musubi-tuner (read at 30c658c; nothing of it is installed or changed), a
case, a device. Out: one update to be timed. As its documented command for bf16: sdpa, gradient
checkpointing, network_dim = network_alpha = 16, no mask at batch 1, AdamW (8-bit from bitsandbytes
where that is installed, as its documentation advises).
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


def make_step(
    source: Path, shapes: list[tuple[int, int, int]], text: int, rank: int, device: str,
    dimensions: dict[str, Any],
) -> tuple[Callable[[], None], str]:  # fmt: skip
    """(one update, which optimizer). shapes: of the target, then of the references, in tokens."""
    from limner.models import runtime

    runtime.prepare()
    import torch

    sys.path.insert(0, str(source / "src"))
    from musubi_tuner.networks import lora_qwen_image  # type: ignore[import-not-found]
    from musubi_tuner.qwen_image.qwen_image_model import (  # type: ignore[import-not-found]
        QwenImageTransformer2DModel,
    )

    logging.disable(logging.INFO)
    dtype = torch.bfloat16
    dimensions = {k: v for k, v in dimensions.items() if k != "guidance_embeds"}
    with torch.device("meta"):
        model = QwenImageTransformer2DModel(attn_mode="torch", split_attn=False, **dimensions)
    old = model.pos_embed  # its tables are no parameters: made anew where they are real
    model.pos_embed = type(old)(theta=old.theta, axes_dim=old.axes_dim, scale_rope=True)
    model.to(dtype).to_empty(device=device)
    model.requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.02, generator=generator)
            else:
                parameter.fill_(1.0 if name.endswith("weight") else 0.0)
    network = lora_qwen_image.create_arch_network(1.0, rank, rank, None, [], unet=model)
    network.apply_to([], model, apply_text_encoder=False, apply_unet=True)
    network.to(device).prepare_grad_etc(model)
    model.enable_gradient_checkpointing()
    model.train()
    weights = [p for p in network.parameters() if p.requires_grad]
    optimizer, kind = _optimizer(weights)
    target = shapes[0][1] * shapes[0][2]
    total = sum(a * b * c for a, b, c in shapes)
    joint = model.txt_in.in_features

    def random(*size: int) -> Any:
        return torch.randn(*size, device=device, generator=generator)

    clean, rest, words = (
        random(1, target, 64),
        random(1, total - target, 64),
        random(1, text, joint),
    )

    def step() -> None:
        sigma = torch.rand(1, device=device, generator=generator)
        noise = random(1, target, 64)
        mixed = (1 - sigma) * clean + sigma * noise
        given = torch.cat([mixed, rest], dim=1).requires_grad_(True)
        with torch.autocast(device, dtype):
            output = model(
                hidden_states=given.to(dtype), timestep=sigma, guidance=None,
                encoder_hidden_states_mask=None,
                encoder_hidden_states=words.requires_grad_(True).to(dtype),
                img_shapes=[shapes], txt_seq_lens=[text], additional_t_cond=None,
            )[:, :target]  # fmt: skip
        loss = (output.float() - (noise - clean)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss.item()

    return step, kind


def _optimizer(weights: list[Any]) -> tuple[Any, str]:
    import torch

    try:
        import bitsandbytes  # type: ignore[import-not-found]
    except ImportError:
        return torch.optim.AdamW(weights, lr=5e-5), "torch AdamW (bitsandbytes is not installed)"
    return bitsandbytes.optim.AdamW8bit(weights, lr=5e-5), "bitsandbytes AdamW8bit"
