"""The training step itself: cached latents and embeddings in, one AdamW update out.

In: a base's transformer with a fresh LoRA and `Prepared` data. Out: loss, gradient norm, and the
fixed-noise loss on held-out pictures. Reads no file and knows no project.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from limner.models import lora
from limner.training import flow, order
from limner.training.config import RunConfig

if TYPE_CHECKING:
    from torch import Tensor

    from limner.models import Base


@dataclass
class Example:
    """One picture, encoded. All lists have one entry a reference (t2i: one, without reference).

    latents: (tokens, 64). embeds, empty: (length, D), the caption's and the empty caption's.
    references: (reference tokens, 64).
    """

    width: int
    height: int
    latents: Tensor
    embeds: list[Tensor]
    empty: list[Tensor]
    references: list[Tensor] = field(default_factory=list)
    reference_size: tuple[int, int] | None = None
    """(height, width) of the references in pixels."""


@dataclass(frozen=True)
class StepResult:
    """One update: loss and gradient norm before clipping; `finite`: it was applied."""

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    finite: bool


@dataclass(frozen=True)
class HeldOut:
    """Fixed-noise loss: mean, and by noise level (sigma -> loss), on `pictures` pictures."""

    loss: float
    by_sigma: dict[str, float]
    pictures: int


class Trainer:
    """Owns the LoRA's parameters and their optimizer; `step(n)` is a pure function of state and n.

    examples: what is trained on; buckets index into it. The base's transformer must not be used
    for anything else meanwhile.
    """

    def __init__(
        self,
        base: Base,
        config: RunConfig,
        examples: Sequence[Example],
        buckets: Sequence[order.Bucket],
        held_out: Sequence[Example] = (),
    ) -> None:
        import torch

        self.base, self.config = base, config
        self.examples, self.held_out = examples, held_out
        self.rows = order.schedule(buckets, config.batch, config.steps, config.seed)
        self.weights = lora.add_adapter(
            base.transformer, rank=config.rank, seed=config.seed, targets=config.targets
        )
        base.transformer.eval()
        if config.gradient_checkpointing:
            base.transformer.enable_gradient_checkpointing()
        self.device = next(iter(self.weights.values())).device
        self.scheduler = dict(base.scheduler.config)
        value = config.values
        self.optimizer = torch.optim.AdamW(
            list(self.weights.values()),
            lr=config.learning_rate,
            betas=(value["beta1"], value["beta2"]),
            eps=value["epsilon"],
            weight_decay=value["weight_decay"],
            fused=True,
        )

    @contextmanager
    def kernels(self) -> Iterator[None]:
        """Precision and attention kernel of this run, around every forward and backward pass."""
        import torch
        from peft.helpers import disable_input_dtype_casting
        from torch.nn.attention import SDPBackend, sdpa_kernel

        with ExitStack() as stack:
            if self.config.precision == "bf16":
                stack.enter_context(torch.autocast(self.device.type, torch.bfloat16))
                # autocast casts once; peft would first cast every input up to the LoRA's fp32
                stack.enter_context(disable_input_dtype_casting(self.base.transformer))
            if self.config.attention == "math":
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            yield

    def loss(
        self, chosen: Sequence[Example], slots: Sequence[int], drop: Sequence[bool], noise: Tensor,
        sigmas: Tensor,
    ) -> Tensor:  # fmt: skip
        """Flow-matching loss per picture (B,) of one batch of equal sizes.

        slots: which reference (and so which embedding) of each example; drop: empty caption.
        """
        import torch

        from limner.models.base import collate

        if self.config.precision == "bf16":
            # the model reads sigma in bf16: mix with the level that it will be told
            sigmas = sigmas.bfloat16().float()
        first = chosen[0]
        latents = torch.stack([e.latents for e in chosen]).to(self.device)
        embeds = [
            (e.empty if gone else e.embeds)[slot].to(self.device)
            for e, slot, gone in zip(chosen, slots, drop, strict=True)
        ]
        references = None
        if first.references:
            rows = [e.references[s] for e, s in zip(chosen, slots, strict=True)]
            references = torch.stack(rows).to(self.device)
        padded, mask = collate(embeds)
        with self.kernels():
            velocity = self.base.velocity(
                flow.interpolate(latents, noise, sigmas),
                sigmas,
                padded,
                mask,
                (first.height, first.width),
                references,
                [first.reference_size] if first.reference_size else [],
            )
        return flow.flow_loss(velocity, latents, noise)

    def batch(self, step: int) -> tuple[list[Example], list[int], list[bool], Tensor, Tensor]:
        """Examples, reference slots, dropped captions, noise and sigmas of update `step` (1..)."""
        import torch

        config = self.config
        chosen = [self.examples[i] for i in self.rows[step - 1]]
        slots = [
            int(order.uniform(config.seed, "reference", step, j) * len(e.embeds))
            for j, e in enumerate(chosen)
        ]
        drop = [
            order.uniform(config.seed, "dropout", step, j) < config.caption_dropout
            for j in range(len(chosen))
        ]
        shape = (len(chosen), *chosen[0].latents.shape)
        noise = torch.randn(shape, generator=order.generator(config.seed, "noise", step))
        normal = torch.randn(len(chosen), generator=order.generator(config.seed, "sigma", step))
        mu = flow.time_shift_mu(shape[1], self.scheduler)
        sigmas = flow.sample_sigmas(normal, mu)
        return chosen, slots, drop, noise.to(self.device), sigmas.to(self.device)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then constant."""
        return self.config.learning_rate * min(
            1.0, step / max(1.0, self.config.values["warmup_steps"])
        )

    def step(self, step: int) -> StepResult:
        """Update number `step` (1..steps). Not applied when loss or gradient is not finite."""
        import torch

        rate = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.loss(*self.batch(step)).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(
            self.weights.values(), self.config.values["max_grad_norm"]
        )
        result = (loss.item(), norm.item())
        finite = math.isfinite(result[0]) and math.isfinite(result[1])
        if finite:
            self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(step, *result, rate, finite)

    def held_out_loss(self) -> HeldOut | None:
        """Loss on held-out pictures at fixed noise and fixed noise levels; None without pictures.

        The same noise at every checkpoint, so that only the weights differ: it brackets the useful
        range, it does not choose the checkpoint.
        """
        import torch

        config = self.config
        if not self.held_out:
            return None
        levels = int(config.values["held_out_levels"])
        by_size: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for index, example in enumerate(self.held_out):
            pairs = [(index, level) for level in range(levels)]
            by_size.setdefault((example.width, example.height), []).extend(pairs)
        sums = [0.0] * levels
        sigmas: list[float] = []
        with torch.no_grad():
            for pairs in by_size.values():
                tokens = self.held_out[pairs[0][0]].latents.shape[0]
                sigmas = flow.quantile_sigmas(levels, flow.time_shift_mu(tokens, self.scheduler))
                for start in range(0, len(pairs), config.batch):
                    part = pairs[start : start + config.batch]
                    losses = self._fixed(part, sigmas)
                    for (_, level), value in zip(part, losses, strict=True):
                        sums[level] += value
        means = [total / len(self.held_out) for total in sums]
        named = {f"{sigma:.3f}": mean for sigma, mean in zip(sigmas, means, strict=True)}
        return HeldOut(sum(means) / levels, named, len(self.held_out))

    def _fixed(self, pairs: Sequence[tuple[int, int]], sigmas: Sequence[float]) -> list[float]:
        import torch

        chosen = [self.held_out[index] for index, _ in pairs]
        noise = torch.stack(
            [
                torch.randn(
                    e.latents.shape,
                    generator=order.generator(self.config.seed, "heldout", index, level),
                )
                for e, (index, level) in zip(chosen, pairs, strict=True)
            ]
        )
        levels = torch.tensor([sigmas[level] for _, level in pairs])
        zeros, false = [0] * len(pairs), [False] * len(pairs)
        losses = self.loss(chosen, zeros, false, noise.to(self.device), levels.to(self.device))
        return [float(value) for value in losses]
