"""The memory model: its constants counted on real blocks, its choices the best that fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import InputError
from limner.models import lora, runtime
from limner.training.fast import Choice, choice_of, install, memory, planned
from limner.training.fast.memory import Shape, Work, fit, forecast

T2I = Work(tokens=4_352)
BOTH = Work(tokens=8_522)


def saved_values(choice: Choice) -> float:
    """Values of the width that the engine's first of two blocks keeps a token, in bfloat16."""
    runtime.prepare()
    from diffusers import QwenImageTransformer2DModel

    torch.manual_seed(0)
    made = QwenImageTransformer2DModel(
        patch_size=2, in_channels=64, out_channels=16, num_layers=2, attention_head_dim=64,
        num_attention_heads=4, joint_attention_dim=64, axes_dims_rope=(16, 24, 24),
    )  # fmt: skip
    made = made.to(torch.bfloat16).eval()
    lora.add_adapter(made, rank=1, seed=1)
    engine = install(made, choice)
    known = {t.untyped_storage().data_ptr() for t in (*made.parameters(), *made.buffers())}
    kept: dict[int, int] = {}
    within, original = [False], engine._block

    def pack(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        if within[0] and storage.data_ptr() not in known and not tensor.is_complex():
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def watched(index: int, *given: Any) -> Any:
        within[0] = index == 0
        try:
            return original(index, *given)
        finally:
            within[0] = False

    engine._block = watched  # type: ignore[method-assign]
    tokens, texts = 192, 64
    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x),
        torch.autocast("cpu", torch.bfloat16),
    ):
        made(
            hidden_states=torch.randn(1, tokens, 64, dtype=torch.bfloat16),
            encoder_hidden_states=torch.randn(1, texts, 64, dtype=torch.bfloat16),
            timestep=torch.tensor([0.5]), img_shapes=[[(1, 12, 16)]], return_dict=False,
        )  # fmt: skip
    return sum(kept.values()) / ((tokens + texts) * 256 * 2)


def test_the_values_a_block_keeps_are_those_counted_on_it() -> None:
    assert saved_values(Choice()) == pytest.approx(memory.KEPT["plain"], rel=0.06)
    assert saved_values(Choice(attention=2)) == pytest.approx(memory.KEPT["attention"], rel=0.06)
    # a block checkpointed whole keeps its input, which is made outside of it
    assert saved_values(Choice(whole=2)) < 0.1


def test_the_published_dimensions_give_the_published_numbers() -> None:
    shape = Shape()
    weights = (shape.linears + shape.modulations) * shape.blocks + shape.outside
    assert weights == pytest.approx(20.4e9, rel=0.01)
    assert shape.lora(1) == pytest.approx(6.64e6, rel=0.01)
    assert shape.lora(1, modulations=True) == pytest.approx(9.216e6, rel=0.01)
    plain, whole = (forecast(Choice(whole=n), T2I) for n in (0, 60))
    assert plain.parts["weights"] / 1e9 == pytest.approx(41, rel=0.02)
    assert plain.teraflops == pytest.approx(167, rel=0.02)  # the sheet's own count
    assert whole.teraflops == pytest.approx(240, rel=0.02)
    assert plain.parts["activations"] / 1e9 == pytest.approx(37, rel=0.06)
    assert forecast(Choice(whole=60), BOTH).teraflops == pytest.approx(588, rel=0.02)


def test_a_24_gb_card_trains_text_to_image_at_1024_in_8_bit_without_swapping() -> None:
    choice = fit(23.0e9, T2I, precision="int8")
    need = forecast(choice, T2I)
    assert choice.swapped == 0 and need.bytes < 23.0e9
    assert choice.whole < 60  # there is room to keep something
    # it is the table that makes it possible: a third of the weights is never there
    without = fit(23.0e9, T2I, precision="int8", table=False)
    assert without.swapped > 0
    assert fit(23.0e9, BOTH, precision="nf4").swapped == 0


@given(
    st.floats(2e9, 9e10), st.integers(600, 13_000), st.sampled_from(["bf16", "fp8", "int8", "nf4"])
)
@settings(max_examples=40, deadline=None)
def test_what_is_chosen_fits_and_nothing_cheaper_does(
    budget: float, tokens: int, precision: Any
) -> None:
    work = Work(tokens)
    try:
        found = fit(budget, work, precision=precision)
    except InputError as error:
        assert "GB" in str(error)
        assert forecast(Choice(precision, 60, 0, 60, table=True), work).bytes > budget
        return
    need = forecast(found, work)
    assert need.bytes <= budget
    if found.swapped:
        fewer = replace(found, swapped=found.swapped - 1)
        assert forecast(fewer, work).bytes > budget
        return
    for whole, attention in ((-1, 0), (0, -1), (-1, 1)):
        other = replace(found, whole=found.whole + whole, attention=found.attention + attention)
        if min(other.whole, other.attention) < 0:
            continue
        assert forecast(other, work).bytes > budget


def test_every_precision_has_a_row_with_a_choice_or_a_reason() -> None:
    rows = memory.options(9e9, BOTH)
    assert [r["precision"] for r in rows] == ["bf16", "fp8", "int8", "nf4"]
    assert all((r["choice"] is None) == bool(r["reason"]) for r in rows)
    assert any(r["fits"] for r in rows)


def test_a_run_is_planned_by_the_card_and_its_record_reads_back() -> None:
    big = planned(85e9, 4_352)
    assert big["precision"] == "bf16" and big["swapped"] == 0 and big["optimizer_bits"] == 32
    assert planned(12e9, 8_522)["optimizer_bits"] == 8
    assert choice_of(big) == Choice(**{k: v for k, v in big.items() if k != "optimizer_bits"})
    small = planned(24e9 * 1.073, 4_352)
    assert small["precision"] == "int8" and small["swapped"] == 0
    assert planned(24e9 * 1.073, 4_352, modulations=True)["table"] is False
    assert planned(9e9, 4_352)["swapped"] > 0
    with pytest.raises(InputError, match="GB"):
        planned(3e9, 4_352)
