"""Which precision and attention kernel a run uses: by what the processor can do, never by a clock.

The same machine thus plans the same run each time, and says why.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping
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
