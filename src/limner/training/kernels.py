"""Which precision and attention kernel a run uses: by what the processor can do, never by a clock.

The same machine thus plans the same run each time, and says why; and on a GPU sums are taken in a
fixed order where a run must be resumable to the bit.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from limner.training.config import Attention, Precision

CPU_FACTS = Path("/proc/cpuinfo")
BF16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""Names Linux gives to instructions that multiply bfloat16: x86 (two) and Arm."""


def precision(device: str, asked: str) -> Precision:
    """asked: auto | fp32 | bf16. auto: bf16 on a GPU and on a CPU that multiplies it natively.

    Elsewhere bf16 is emulated and slower than fp32.
    """
    if asked == "fp32":
        return "fp32"
    return "bf16" if asked == "bf16" or device != "cpu" or multiplies_bf16() else "fp32"


def multiplies_bf16(facts: Path = CPU_FACTS) -> bool:
    """Whether this processor says that it has bf16 products; False where it cannot be asked."""
    if platform.system() != "Linux":
        return False
    try:
        lines = facts.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return False
    words = next((x for x in lines if x.lower().startswith(("flags", "features"))), "")
    return not BF16_FLAGS.isdisjoint(words.split())


def attention(device: str, tokens: int, values: Mapping[str, float]) -> Attention:
    """The plain kernel for short sequences on a CPU; its memory grows with the tokens squared."""
    return "math" if device == "cpu" and tokens <= values["plain_attention"] else "default"


def before_cuda() -> None:
    """What cuBLAS must find in the environment when it starts, to give the same sums each time.

    Two workspaces of 4 MB a stream, as torch's notes on reproducibility ask for.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def exact(wanted: bool) -> Iterator[None]:
    """Kernels with a fixed order of sums, around a forward and backward pass on a GPU.

    The quick attention kernels add up the gradient of the keys in the order in which their blocks
    happen to finish, and cuDNN's offers no other way: without this a run taken up again on a GPU
    ends in other last bits. wanted: False changes nothing.
    """
    if not wanted:
        yield
        return
    import torch
    import torch.utils.deterministic as memory

    before = torch.are_deterministic_algorithms_enabled()
    warned = torch.is_deterministic_algorithms_warn_only_enabled()
    filled = memory.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False  # all memory is written before it is read
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warned)
        memory.fill_uninitialized_memory = filled
