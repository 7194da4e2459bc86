"""The training step itself: cached latents and embeddings in, one AdamW update out.

In: a base's transformer with a fresh LoRA and `Prepared` data. Out: loss, gradient norm, and the
fixed-noise loss on held-out pictures. Reads no file and knows no project.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from limner.errors import WorkFailedError
from limner.models import lora
from limner.training import fast, flow, kernels, order, recover
from limner.training.config import RunConfig

if TYPE_CHECKING:
    from torch import Tensor

    from limner.models import Base
    from limner.training.fast.engine import Engine
    from limner.training.parallel import Team


@dataclass
class Example:
    """One picture, encoded. All lists have one entry a reference (t2i: one, without reference).

    latents: (tokens, 64). embeds, empty: (length, D), the caption's and the empty caption's.
    references: (tokens of all references shown at once, 64).
    """

    width: int
    height: int
    latents: Tensor
    embeds: list[Tensor]
    empty: list[Tensor]
    references: list[Tensor] = field(default_factory=list)
    reference_sizes: list[tuple[int, int]] = field(default_factory=list)
    """(height, width) in pixels of each reference shown at once."""
    weights: Tensor | None = None
    """What each token's error counts, (tokens, 1) with mean 1; None: all alike."""


@dataclass(frozen=True)
class StepResult:
    """One update: loss and gradient norm before clipping; `finite`: it was applied.

    skipped: the step was left out (see `limner.training.recover`), loss and norm are 0.
    """

    step: int
    loss: float
    grad_norm: float
    learning_rate: float
    finite: bool
    skipped: bool = False


@dataclass(frozen=True)
class HeldOut:
    """Fixed-noise loss: mean, and by noise level (sigma -> loss), on `pictures` pictures.

    Levels are quantiles, named by their sigma at the commonest held-out size. trained: the same on
    pictures that are trained on, None where none were asked for.
    """

    loss: float
    by_sigma: dict[str, float]
    pictures: int
    trained: float | None = None
    trained_by_sigma: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Owns the LoRA's parameters and their optimizer; `step(n)` is a pure function of state and n.

    examples: what is trained on; buckets index into it, weights say how often each comes.
    compared: those whose fixed-noise loss stands beside that of the held-out ones. team: the
    processes that share every batch. The base's transformer must not be used for anything else
    meanwhile.
    """

    def __init__(
        self,
        base: Base,
        config: RunConfig,
        examples: Sequence[Example],
        buckets: Sequence[order.Bucket],
        held_out: Sequence[Example] = (),
        *,
        weights: Mapping[int, int] | None = None,
        compared: Sequence[int] = (),
        team: Team | None = None,
    ) -> None:
        self.base, self.config, self.team = base, config, team
        self.examples, self.held_out = examples, held_out
        self.compared = [examples[i] for i in compared]
        self.rows = order.schedule(buckets, config.batch, config.steps, config.seed, weights)
        self.weights = lora.add_adapter(
            base.transformer, rank=config.rank, seed=config.seed, targets=config.targets
        )
        self.device = base.transformer.img_in.weight.device
        for weight in self.weights.values():
            weight.data = weight.data.to(self.device)  # peft put a swapped block's beside it
        self.averaged: dict[str, Tensor] = {}
        if config.ema:
            self.averaged = {name: p.detach().clone() for name, p in self.weights.items()}
        base.transformer.eval()
        self.scheduler = dict(base.scheduler.config)
        self.attention = config.attention
        self.chunk = config.batch
        """Pictures that go through the model at once; fewer than the batch: several backwards."""
        self.skips: frozenset[int] = frozenset()
        self.slower: tuple[int, ...] = ()
        """Steps after which the learning rate was halved."""
        self.exact = self.device.type == "cuda" and fast.choice_of(config.fast).exact
        self.engine: Engine | None = None
        """What stands in for the transformer's forward pass in a run with fast choices."""
        if config.fast:
            self.install(fast.choice_of(config.fast))
        elif config.gradient_checkpointing:
            base.transformer.enable_gradient_checkpointing()
        self.optimizer = self._optimizer()

    def _optimizer(self) -> Any:
        """AdamW: torch's own fused one, or that of the fast choices."""
        import torch

        value = self.config.values
        given: dict[str, Any] = {
            "lr": self.config.learning_rate,
            "betas": (value["beta1"], value["beta2"]),
            "eps": value["epsilon"],
            "weight_decay": value["weight_decay"],
        }
        bits = int(self.config.fast.get("optimizer_bits", 0))
        if bits:
            fused = bool(self.config.fast.get("compile"))
            return fast.FlatAdamW(
                self.weights, bits=bits, seed=self.config.seed, compile=fused, **given
            )
        return torch.optim.AdamW(list(self.weights.values()), fused=True, **given)

    def install(self, choice: fast.Choice) -> None:
        """Run the transformer by these choices from now on, in place of those before."""
        table = None
        if self.engine is not None:
            # 13 GB of modulations must not pass through a card that has just run out of memory
            table = self.engine.remove(keep_table=choice.table)
        self.engine = fast.install(self.base.transformer, choice, self.device, table, self.team)
        if choice.table:
            self.engine.expect([s for n in range(len(self.rows)) for s in self._sigmas(n + 1)])

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
            if self.attention == "math":
                stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            yield

    def loss(
        self, chosen: Sequence[Example], slots: Sequence[int], drop: Sequence[bool], noise: Tensor,
        sigmas: Tensor, *, weighted: bool = False,
    ) -> Tensor:  # fmt: skip
        """Flow-matching loss per picture (B,) of one batch of equal sizes.

        slots: which reference (and so which embedding) of each example; drop: empty caption.
        weighted: by the examples' weights, as a step learns; measures count all tokens alike.
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
                first.reference_sizes,
            )
        weights = None
        if weighted and any(e.weights is not None for e in chosen):
            even = torch.ones(latents.shape[1], 1)
            rows = [even if e.weights is None else e.weights for e in chosen]
            weights = torch.stack(rows).to(self.device)
        return flow.flow_loss(velocity, latents, noise, weights)

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
        sigmas = self._sigmas(step)
        return chosen, slots, drop, noise.to(self.device), sigmas.to(self.device)

    def _sigmas(self, step: int) -> Tensor:
        """Noise levels of update `step`, one a picture, on the CPU."""
        import torch

        row = self.rows[step - 1]
        drawn = torch.randn(len(row), generator=order.generator(self.config.seed, "sigma", step))
        tokens = self.examples[row[0]].latents.shape[0]
        return flow.sample_sigmas(drawn, flow.time_shift_mu(tokens, self.scheduler))

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then the schedule; halved after each step in `slower`.

        cosine: from the full rate after the warm-up to 0 after the last step (Loshchilov & Hutter
        2017, arXiv 1608.03983, without restarts).
        """
        warm_up = max(1.0, self.config.values["warmup_steps"])
        rate = self.config.learning_rate * min(1.0, step / warm_up)
        if self.config.schedule == "cosine" and step > warm_up:
            way = (step - warm_up) / max(1.0, self.config.steps + 1 - warm_up)
            rate *= 0.5 * (1 + math.cos(math.pi * way))
        return rate * 0.5 ** sum(step > after for after in self.slower)

    def step(self, step: int) -> StepResult:
        """Update number `step` (1..steps). Not applied when loss or gradient is not finite."""
        rate = self.learning_rate(step)
        if step in self.skips:
            return StepResult(step, 0.0, 0.0, rate, finite=True, skipped=True)
        loss, norm = self.gradients(step)
        finite = math.isfinite(loss) and math.isfinite(norm)
        if finite:
            self.update(step, rate)
        self.optimizer.zero_grad(set_to_none=True)
        return StepResult(step, loss, norm, rate, finite)

    def gradients(self, step: int) -> tuple[float, float]:
        """Leave the clipped gradient of update `step` in the parameters; (loss, norm before).

        A batch may go through in chunks and be shared by a team: the gradient is that of the mean
        over the whole batch, up to the order of the sums. Raises MemoryError, in all processes of
        a team, when one of them has not enough.
        """
        if self.team is None:
            return self._gradients(step)
        with self.team.together():
            if self.engine is not None:
                self.engine.swap.forget()  # the leader's ring has served losses and samples
            return self._gradients(step)

    def _gradients(self, step: int) -> tuple[float, float]:
        chosen, slots, drop, noise, sigmas = self.batch(step)
        size = len(chosen)
        mine = range(size)
        if self.team is not None:
            mine = range(self.team.rank, size, self.team.size)
        total: Tensor | None = None
        failed: str | None = None  # never the exception: it would hold all activations
        try:
            for start in range(0, len(mine), self.chunk):
                part = list(mine[start : start + self.chunk])
                whole = len(part) == size
                with kernels.exact(self.exact):
                    losses = self.loss(
                        [chosen[i] for i in part],
                        [slots[i] for i in part],
                        [drop[i] for i in part],
                        noise if whole else noise[part],
                        sigmas if whole else sigmas[part],
                        weighted=True,
                    )
                    loss = losses.mean() if whole else losses.sum() / size
                    loss.backward()
                total = loss.detach() if total is None else total + loss.detach()
                del losses, loss
        except Exception as error:
            if not recover.is_out_of_memory(error):
                raise
            failed = f"{error}".partition("\n")[0]
            if self.engine is not None and self.engine.swap.team is not None:
                raise WorkFailedError(  # the others wait for this process's share
                    f"Memory ran out in a process that shares the base ({failed})",
                    fix="Lower training.resolution, control_size or batch, or take fewer bits or "
                    "more processes; then run `limner train` again.",
                ) from None
        if self.team is not None and self.team.any(failed is not None):
            failed = failed or "another process of the team has not enough memory"
        if failed is not None:
            self.optimizer.zero_grad(set_to_none=True)
            raise MemoryError(failed) from None
        assert total is not None
        if self.team is not None:
            total = self.team.add(total, [p.grad for p in self.weights.values()])
        return total.item(), self._clip().item()

    def _clip(self) -> Tensor:
        """Scale the gradient down to `max_grad_norm`; its norm before."""
        import torch

        most = self.config.values["max_grad_norm"]
        if isinstance(self.optimizer, torch.optim.AdamW):
            return torch.nn.utils.clip_grad_norm_(self.weights.values(), most)
        norm: Tensor = self.optimizer.clip(most)  # one vector, not a thousand
        return norm

    def update(self, step: int, rate: float) -> None:
        """One AdamW update from the gradients that lie in the parameters, and the average's."""
        import torch

        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        if self.averaged:
            # the first steps count more, or the start (B = 0) would stay in the average for long
            decay = min(self.config.ema, (1 + step) / (10 + step))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.averaged.values()),
                    [p.detach() for p in self.weights.values()],
                    1 - decay,
                )

    def published(self) -> dict[str, Tensor]:
        """What a checkpoint holds: the averaged weights where the run has any."""
        return dict(self.averaged or self.weights)

    @contextmanager
    def as_published(self) -> Iterator[None]:
        """The transformer with the weights of a checkpoint, for losses and samples."""
        import torch

        if not self.averaged:
            yield
            return
        kept = {name: p.detach().clone() for name, p in self.weights.items()}
        with torch.no_grad():
            for name, parameter in self.weights.items():
                parameter.copy_(self.averaged[name])
        try:
            yield
        finally:
            with torch.no_grad():
                for name, parameter in self.weights.items():
                    parameter.copy_(kept[name])

    def held_out_loss(self) -> HeldOut | None:
        """Loss on held-out pictures at fixed noise and fixed noise levels; None without pictures.

        With it that on as many training pictures: the gap between them is what was learned by
        heart. The same noise at every checkpoint, so that only the weights differ: it brackets the
        useful range, it does not choose the checkpoint. Of the weights that a checkpoint would
        hold. Raises MemoryError when not even one picture at a time fits.
        """
        if not self.held_out:
            return None
        chunk = self.chunk
        with self.as_published():
            while True:
                try:
                    return self._held_out_loss(chunk)
                except Exception as error:
                    if not recover.is_out_of_memory(error):
                        raise
                    if chunk == 1:
                        raise MemoryError(str(error)) from None
                    chunk = -(-chunk // 2)

    def _held_out_loss(self, chunk: int) -> HeldOut:
        held = self._at_levels(self.held_out, "heldout", chunk)
        trained = self._at_levels(self.compared, "trained", chunk) if self.compared else []
        tokens = [e.latents.shape[0] for e in self.held_out]
        names = [f"{sigma:.3f}" for sigma in self._levels(max(tokens, key=tokens.count))]
        return HeldOut(
            sum(held) / len(held),
            dict(zip(names, held, strict=True)),
            len(self.held_out),
            sum(trained) / len(trained) if trained else None,
            dict(zip(names, trained, strict=True)) if trained else {},
        )

    def _levels(self, tokens: int) -> list[float]:
        """The fixed noise levels of pictures of one size."""
        count = int(self.config.values["held_out_levels"])
        return flow.quantile_sigmas(count, flow.time_shift_mu(tokens, self.scheduler))

    def _at_levels(
        self, examples: Sequence[Example], stream: order.Stream, chunk: int
    ) -> list[float]:
        """Mean loss of examples at each level, each with its own noise of `stream`."""
        import torch

        levels = int(self.config.values["held_out_levels"])
        by_size: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for index, example in enumerate(examples):
            pairs = [(index, level) for level in range(levels)]
            by_size.setdefault((example.width, example.height), []).extend(pairs)
        sums = [0.0] * levels
        with torch.no_grad():
            for pairs in by_size.values():
                for start in range(0, len(pairs), chunk):
                    part = pairs[start : start + chunk]
                    with kernels.exact(self.exact):
                        losses = self._fixed(examples, part, stream)
                    for (_, level), value in zip(part, losses, strict=True):
                        sums[level] += value
        return [total / len(examples) for total in sums]

    def _fixed(
        self, examples: Sequence[Example], pairs: Sequence[tuple[int, int]], stream: order.Stream
    ) -> list[float]:
        """Losses of (example, level) pairs of one picture size."""
        import torch

        chosen = [examples[index] for index, _ in pairs]
        noise = torch.stack(
            [
                torch.randn(
                    e.latents.shape,
                    generator=order.generator(self.config.seed, stream, index, level),
                )
                for e, (index, level) in zip(chosen, pairs, strict=True)
            ]
        )
        sigmas = self._levels(chosen[0].latents.shape[0])
        levels = torch.tensor([sigmas[level] for _, level in pairs])
        zeros, false = [0] * len(pairs), [False] * len(pairs)
        losses = self.loss(chosen, zeros, false, noise.to(self.device), levels.to(self.device))
        return [float(value) for value in losses]
