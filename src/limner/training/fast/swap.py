"""Blocks that do not fit: their frozen weights lie elsewhere and pass through a small ring.

In: blocks, which of them to send away, and where: into system memory, or a share of each to every
process of a team. Out: `need(i)`, called before a block computes: its weights are there, and the
next block's are on their way on a stream of their own. Frozen weights never change, so nothing is
ever copied back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

SHARE = "limner_share"
"""Attribute of a block whose frozen tensors are already shared out: this process's bytes."""
ALIGNMENT = 256
"""Bytes a tensor's start is rounded up to, as CUDA's allocator does; the kernels need 16."""


def spread(blocks: int, count: int) -> tuple[int, ...]:
    """Which `count` of `blocks` to swap: evenly spread, so that copies hide behind others' work."""
    return tuple(sorted({(2 * i + 1) * blocks // (2 * count) for i in range(count)}))


def away(blocks: int, swapped: int, *, shared: bool) -> tuple[int, ...]:
    """Which blocks lie elsewhere: all that are shared with a team, or so many swapped ones."""
    if shared:
        return tuple(range(blocks))
    return spread(blocks, swapped) if swapped else ()


class Sharing(Protocol):
    """What the ring wants of a team of processes (`limner.training.parallel.Team`)."""

    rank: int
    size: int

    def gather(self, whole: Tensor, share: Tensor, block: int) -> None:
        """All shares of a block, one behind the other, into `whole`; every process takes part."""


class BlockSwap:
    """The ring. `direction`: +1 in the forward pass, -1 in the backward pass.

    moves: copies so far; late: those that the computation had to wait for from their start. team:
    holds the blocks together, each process its share on its own device; None: system memory does.
    """

    def __init__(
        self, blocks: Sequence[Any], chosen: Sequence[int], ring: int, device: Any,
        skip: tuple[str, ...] = (), team: Sharing | None = None,
    ) -> None:  # fmt: skip
        self.order, self.device, self.team = tuple(chosen), torch.device(device), team
        self.direction, self.moves, self.late = 1, 0, 0
        self.tensors = {i: _frozen(blocks[i], skip) for i in self.order}
        self.host = {i: self._store(blocks[i], self.tensors[i]) for i in self.order}
        size = max((h.numel() for h in self.host.values()), default=0)
        size *= team.size if team is not None else 1
        count = min(max(1, ring), len(self.order))
        self.slots = [
            torch.empty(size, dtype=torch.uint8, device=self.device) for _ in range(count)
        ]
        self.holds: list[int | None] = [None] * count
        cuda = self.device.type == "cuda"
        self.stream = torch.cuda.Stream(self.device) if cuda else None
        self.ready: list[Any] = [torch.cuda.Event() if cuda else None for _ in range(count)]
        self.used: list[Any] = [torch.cuda.Event() if cuda else None for _ in range(count)]
        if cuda:  # what the slots' memory was used for before must be over
            for event in self.used:
                event.record(torch.cuda.current_stream(self.device))
        self.current: int | None = None

    def _store(self, block: Any, tensors: list[Tensor]) -> Tensor:
        """All bytes of a block in one pinned buffer, or this process's share of them."""
        if self.team is not None:
            kept: Tensor | None = vars(block).pop(SHARE, None)
            if kept is None:
                kept = _cut(tensors, self.team.rank, self.team.size, self.device)
            return kept
        pinned = self.device.type == "cuda"
        buffer = torch.zeros(_bytes(tensors), dtype=torch.uint8, pin_memory=pinned)
        for tensor, view in zip(tensors, _views(buffer, tensors), strict=True):
            view.copy_(tensor.detach())
            tensor.data = view
        return buffer

    def need(self, block: int) -> None:
        """The block's weights are where they compute, behind everything enqueued so far."""
        if block not in self.host:
            return
        if block not in self.holds:
            self.late += 1
            self._fetch(block)
        slot = self.holds.index(block)
        if self.stream is not None:
            here = torch.cuda.current_stream(self.device)
            here.wait_event(self.ready[slot])
            if self.current is not None and self.current != slot:
                self.used[self.current].record(here)  # all of its work is enqueued by now
        self.current = slot
        if len(self.slots) == 1:
            return  # the one place is in use until the next block is asked for
        following = self._next(block)
        if following is not None and following not in self.holds:
            self._fetch(following)

    def forget(self) -> None:
        """What the ring holds counts as gone: from now on all of a team ask for the same."""
        if self.stream is not None and self.current is not None:
            self.used[self.current].record(torch.cuda.current_stream(self.device))
        self.holds, self.current = [None] * len(self.slots), None

    def give(self, block: int) -> None:
        """Take part in a gathering for the leader's sake."""
        self.forget()
        self._fetch(block)
        self.forget()

    def close(self) -> None:
        """Leave all swapped weights in system memory and give the ring back; all of a team do."""
        for block, tensors in self.tensors.items():
            whole = self.host[block]
            if self.team is not None:
                whole = whole.new_empty(whole.numel() * self.team.size)
                self.team.gather(whole, self.host[block], block)
                whole = whole.cpu()
            for tensor, view in zip(tensors, _views(whole, tensors), strict=True):
                tensor.data = view
        self.slots, self.holds = [], []

    def _next(self, block: int) -> int | None:
        place = self.order.index(block) + self.direction
        if 0 <= place < len(self.order):
            return self.order[place]
        # inference starts again from the front; a training step turns round at both ends
        return None if torch.is_grad_enabled() else self.order[0]

    def _fetch(self, block: int) -> None:
        """Copy a block into the slot that is not in use and was filled longest ago."""
        slot = self._free_slot()
        if slot is None:
            return
        self.holds[slot] = block
        self.moves += 1
        parts = self.team.size if self.team is not None else 1
        target = self.slots[slot][: self.host[block].numel() * parts]
        if self.stream is None:
            self._bring(target, block)
        else:
            with torch.cuda.stream(self.stream):
                self.stream.wait_event(self.used[slot])
                self._bring(target, block)
                self.ready[slot].record(self.stream)
        tensors = self.tensors[block]
        for tensor, view in zip(tensors, _views(target, tensors), strict=True):
            tensor.data = view

    def _bring(self, target: Tensor, block: int) -> None:
        if self.team is not None:
            self.team.gather(target, self.host[block], block)
        else:
            target.copy_(self.host[block], non_blocking=True)

    def _free_slot(self) -> int | None:
        empty = [i for i, held in enumerate(self.holds) if held is None]
        if empty:
            return empty[0]
        others = [i for i in range(len(self.slots)) if i != self.current]
        if not others:
            # one place only: the copy waits until the block in it has been computed
            if self.stream is not None and self.current is not None:
                here = torch.cuda.current_stream(self.device)
                self.used[self.current].record(here)
            return self.current
        # the block passed longest ago is needed last: the way back comes from the other end
        place = {i: self.order.index(b) for i, b in enumerate(self.holds) if b is not None}
        return min(others, key=lambda i: place[i] * self.direction)


def keep_share(
    block: Any, rank: int, size: int, device: Any, skip: tuple[str, ...] = ()
) -> None:  # fmt: skip
    """Leave a block only the share of process `rank` of `size`, on `device`, before any LoRA.

    A `BlockSwap` with a team takes it over. So no process ever holds more than one block whole.
    """
    setattr(block, SHARE, _cut(_frozen(block, skip), rank, size, torch.device(device)))


def _bytes(tensors: Sequence[Tensor]) -> int:
    sizes = [t.numel() * t.element_size() for t in tensors]
    return sum(-(-size // ALIGNMENT) * ALIGNMENT for size in sizes)


def _cut(tensors: Sequence[Tensor], rank: int, size: int, device: torch.device) -> Tensor:
    """The bytes of one process of `size`, on its device; the tensors give up their own memory."""
    total = -(-_bytes(tensors) // (ALIGNMENT * size)) * ALIGNMENT * size
    buffer = torch.zeros(total, dtype=torch.uint8)
    for tensor, view in zip(tensors, _views(buffer, tensors), strict=True):
        view.copy_(tensor.detach())
        tensor.data = _nothing(tensor, device)
    return buffer.chunk(size)[rank].to(device, copy=True)


def _nothing(like: Tensor, device: torch.device) -> Tensor:
    """A tensor of the same shape that takes no memory; its values are never read."""
    return torch.zeros((), dtype=like.dtype, device=device).expand(like.shape)


def _frozen(block: Any, skip: tuple[str, ...]) -> list[Tensor]:
    """Tensors of a block that are never trained; those whose name holds a part of `skip` stay."""
    named = [*block.named_parameters(), *block.named_buffers()]
    return [t for n, t in named if not t.requires_grad and not any(part in n for part in skip)]


def _views(buffer: Tensor, tensors: Sequence[Tensor]) -> list[Tensor]:
    found, start = [], 0
    for tensor in tensors:
        size = tensor.numel() * tensor.element_size()
        found.append(buffer[start : start + size].view(tensor.dtype).view(tensor.shape))
        start += -(-size // ALIGNMENT) * ALIGNMENT
    return found
