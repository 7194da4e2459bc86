"""Several processes that share every batch: one a GPU, or a few on a CPU.

In: a run whose record says how many. Out: a `Team` that sums gradients and keeps its processes in
step. The first process owns records and files; the others (`limner.training.worker`) only compute.
They meet over a file and the loopback interface; nothing listens to the network.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limner.errors import LimnerError, WorkFailedError

if TYPE_CHECKING:
    from torch import Tensor

PATIENCE = timedelta(minutes=30)
"""How long a process waits for the others: as long as torch's own default."""


class Team:
    """A member of a team of `size` processes. `rank` 0 leads, the others follow."""

    def __init__(self, rank: int, size: int, meeting: Path, device: str) -> None:
        """Join; returns when all are there. meeting: a file path that the team shares."""
        import torch.distributed as dist

        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        os.environ.setdefault("NCCL_SOCKET_IFNAME", "lo")
        self.rank, self.size = rank, size
        self.members: list[subprocess.Popen[bytes]] = []
        self.log: Path | None = None
        self.folder = meeting.parent
        self.alone = True
        """The leader computes by itself: the others take part in a gathering only when told to."""
        backend = "gloo"
        if device.startswith("cuda"):
            import torch

            torch.cuda.set_device(rank)
            backend = "cpu:gloo,cuda:nccl"
        dist.init_process_group(
            backend,
            init_method=meeting.resolve().as_uri(),
            rank=rank,
            world_size=size,
            timeout=PATIENCE,
        )

    def any(self, flag: bool) -> bool:
        """Whether the flag is up in any process."""
        import torch
        import torch.distributed as dist

        value = torch.tensor([float(flag)])
        self._together(lambda: dist.all_reduce(value, op=dist.ReduceOp.MAX))
        return bool(value.item())

    def add(self, total: Tensor, gradients: Sequence[Tensor | None]) -> Tensor:
        """Sum all gradients over the team, in place, and return the summed `total`.

        Which parameters have a gradient is a matter of the model, so it is the same everywhere.
        """
        import torch
        import torch.distributed as dist

        there = [g for g in gradients if g is not None]
        flat = torch.cat([total.float().reshape(1), *(g.reshape(-1) for g in there)])
        self._together(lambda: dist.all_reduce(flat))
        start = 1
        for gradient in there:
            end = start + gradient.numel()
            gradient.copy_(flat[start:end].view_as(gradient))
            start = end
        return flat[0]

    @contextmanager
    def together(self) -> Iterator[None]:
        """All processes do the same meanwhile, so nobody needs to be told."""
        self.alone = False
        try:
            yield
        finally:
            self.alone = True

    def gather(self, whole: Tensor, share: Tensor, block: int) -> None:
        """The shares of one block's bytes from all processes, in the order of their ranks.

        whole: (size x share,) uint8 on the device of the shares, filled in place.
        """
        import torch.distributed as dist

        if self.alone and self.rank == 0:
            self.say(do="fetch", block=block)
        self._together(lambda: dist.all_gather_into_tensor(whole, share))

    def say(self, **message: Any) -> None:
        """The leader tells the others what to do next."""
        self._pass_on(json.dumps(message).encode())

    def hear(self) -> dict[str, Any]:
        """Wait for what the leader says."""
        found: dict[str, Any] = json.loads(self._pass_on(b""))
        return found

    def _pass_on(self, text: bytes) -> bytes:
        import torch
        import torch.distributed as dist

        length = torch.tensor([len(text)])
        self._together(lambda: dist.broadcast(length, 0))
        body = torch.zeros(int(length.item()), dtype=torch.uint8)
        if self.rank == 0:
            body = torch.frombuffer(bytearray(text), dtype=torch.uint8)
        self._together(lambda: dist.broadcast(body, 0))
        return bytes(body.tolist())

    def _together(self, work: Any) -> None:
        try:
            work()
        except RuntimeError as error:
            raise self._lost(str(error).partition("\n")[0] or type(error).__name__) from None

    def _lost(self, why: str) -> LimnerError:
        said = _last_line(self.log) if self.log else ""
        return WorkFailedError(
            f"A process of the team ended ({said or why})",
            where=str(self.log) if self.log else None,
            fix="Run `limner train` again: it goes on from the last state.",
        )

    def end(self) -> None:
        """The leader sends the others home and leaves. Only between two steps."""
        self.say(do="end")
        self.close()

    def abandon(self) -> None:
        """The leader leaves in the middle of something: the others may wait for it in vain."""
        for member in self.members:
            member.kill()
        self.close()

    def close(self) -> None:
        """Leave the team; the leader waits for the others to end."""
        import torch.distributed as dist

        with suppress(Exception):
            dist.destroy_process_group()
        for member in self.members:
            try:
                member.wait(timeout=20)
            except subprocess.TimeoutExpired:
                member.kill()
        if self.rank == 0:
            shutil.rmtree(self.folder, ignore_errors=True)


def lead(root: Path, run: int, size: int, device: str, logs: Path) -> Team:
    """Start the other processes of a run and return the leader's place in the team.

    Raises WorkFailedError when one of them ends before it is ready.
    """
    folder = Path(tempfile.mkdtemp(prefix="limner-team-"))
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "processes.log"
    members = []
    with log.open("ab") as out:
        for rank in range(1, size):
            command = [sys.executable, "-m", "limner.training.worker", str(root.resolve())]
            command += [str(run), str(rank), str(folder), str(os.getpid())]
            # a session of its own: Ctrl-C is for the leader, who finishes the step with all of them
            members.append(
                subprocess.Popen(command, stdout=out, stderr=out, start_new_session=True)
            )
    try:
        while not all((folder / f"ready_{rank}").exists() for rank in range(1, size)):
            if any(m.poll() is not None for m in members):
                raise WorkFailedError(
                    f"A process of the team did not start ({_last_line(log)})", where=str(log)
                )
            time.sleep(0.05)
        team = Team(0, size, folder / "meeting", device)
    except BaseException:
        for member in members:
            member.kill()
        raise
    team.members, team.log = members, log
    return team


def _last_line(path: Path) -> str:
    try:
        lines = path.read_text("utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
