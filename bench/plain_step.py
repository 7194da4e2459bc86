"""What a plain diffusers training script does each step, for comparisons on the same machine.

Written after examples/dreambooth/train_dreambooth_lora_qwen_image.py of diffusers 0.42: cached
latents and embeddings as with its --cache_latents, peft's own forward pass, mask always handed on,
noise, shifted logit-normal levels, flow matching, clipping, AdamW, a logged loss. Not handicapped:
what that script does once is done once here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class PlainLoop:
    """model: a QwenImageTransformer2DModel with a peft adapter `weights`, all on one device.

    latents: (n, tokens, 64); texts: (n, length, joint), masks (n, length) or None.
    """

    def __init__(
        self, model: Any, weights: dict[str, Any], latents: Any, texts: Any, masks: Any,
        shape: tuple[int, int, int], *, batch: int, precision: str, seed: int = 0,
    ) -> None:  # fmt: skip
        import torch

        self.model, self.weights = model, list(weights.values())
        self.latents, self.texts, self.masks, self.shape = latents, texts, masks, shape
        self.batch, self.precision = batch, precision
        self.generator = torch.Generator().manual_seed(seed)
        self.optimizer = torch.optim.AdamW(
            self.weights, lr=1e-4, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-4
        )
        self.device = latents.device.type

    def step(self, rows: Sequence[int]) -> float:
        """One update on these pictures; the loss."""
        import torch

        chosen = list(rows)
        clean = self.latents[chosen]
        noise = torch.randn(clean.shape, generator=self.generator).to(clean.device)
        drawn = torch.randn(len(chosen), generator=self.generator).sigmoid()
        sigma = (3.0 * drawn / (1 + 2.0 * drawn)).to(clean.device)  # the scheduler's shift of 3
        level = sigma.view(-1, 1, 1)
        mixed = (1 - level) * clean + level * noise
        with torch.autocast(self.device, torch.bfloat16, enabled=self.precision == "bf16"):
            output = self.model(
                hidden_states=mixed,
                timestep=sigma,
                encoder_hidden_states=self.texts[chosen],
                encoder_hidden_states_mask=None if self.masks is None else self.masks[chosen],
                img_shapes=[[self.shape]] * len(chosen),
                return_dict=False,
            )[0]
        loss = (output.float() - (noise - clean)).square().reshape(len(chosen), -1).mean(1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float(loss.detach())
