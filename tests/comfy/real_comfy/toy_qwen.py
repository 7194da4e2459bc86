"""A custom node file without nodes: makes the Qwen-Image classes small when ComfyUI starts.

In: nothing. Out: patched constructors, so that stock loaders and the stock graph run unmodified on
toy checkpoints. Detection reads only channels, layers and one bias length from the files; the
bias must stay 512 long, so key-value heads and head size of the text encoder are kept.
"""

from __future__ import annotations

import functools
from typing import Any

NODE_CLASS_MAPPINGS: dict[str, Any] = {}


def _smaller(kind: Any, always: bool = False, **small: Any) -> None:
    plain = kind.__init__

    @functools.wraps(plain)
    def made(self: Any, *args: Any, **named: Any) -> None:
        plain(self, *args, **({**named, **small} if always else {**small, **named}))

    kind.__init__ = made


def shrink() -> None:
    """Patch the three classes."""
    from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
    from comfy.text_encoders.llama import Qwen25_7BVLI_Config
    from comfy.text_encoders.qwen_vl import Qwen2VLVisionTransformer

    _smaller(
        QwenImageTransformer2DModel,
        attention_head_dim=32,
        num_attention_heads=4,
        axes_dims_rope=(8, 12, 12),
        joint_attention_dim=64,
    )
    _smaller(
        Qwen25_7BVLI_Config,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
    )
    _smaller(
        Qwen2VLVisionTransformer,
        always=True,
        hidden_size=160,
        output_hidden_size=64,
        intermediate_size=160,
        num_heads=2,
        num_layers=1,
    )


shrink()
