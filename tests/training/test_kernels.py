"""Precision and attention follow from the processor and the work, the same each time."""

from pathlib import Path

import pytest

from limner.training import kernels


def test_a_processor_is_asked_whether_it_multiplies_bf16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = tmp_path / "cpuinfo"
    monkeypatch.setattr(kernels, "CPU_FACTS", facts)
    assert not kernels.multiplies_bf16(tmp_path / "nowhere")
    for line, able in (
        ("flags\t\t: fpu sse4_2 avx512f avx512_bf16 clwb", True),
        ("flags\t\t: fpu sse4_2 avx512f", False),
        ("Features\t: fp asimd i8mm bf16", True),
    ):
        facts.write_text(f"processor\t: 0\nbogomips\t: 1\n{line}\n", "utf-8")
        assert kernels.multiplies_bf16(facts) is able


@pytest.mark.parametrize(("device", "asked", "able", "expected"), [
    ("cpu", "auto", False, "fp32"), ("cpu", "auto", True, "bf16"), ("cpu", "bf16", False, "bf16"),
    ("cpu", "fp32", True, "fp32"), ("cuda", "auto", False, "bf16"), ("cuda", "fp32", True, "fp32"),
])  # fmt: skip
def test_what_is_asked_for_wins(
    device: str, asked: str, able: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "multiplies_bf16", lambda: able)
    assert kernels.precision(device, asked) == expected


def test_long_sequences_never_take_the_plain_kernel() -> None:
    limits = {"plain_attention": 512.0}
    assert kernels.attention("cpu", 512, limits) == "math"
    assert kernels.attention("cpu", 513, limits) == "default"
    assert kernels.attention("cuda", 64, limits) == "default"
