"""The engine's forward pass and gradients against diffusers' own, for every way it can run."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from limner.errors import UsageError
from limner.models import lora, runtime
from limner.training.fast import Choice, install, less

LAYERS = 4


def model(*, zero_cond: bool = False, seed: int = 5) -> Any:
    """The real class with four small blocks, gates and LoRA far from zero."""
    runtime.prepare()
    from diffusers import QwenImageTransformer2DModel

    torch.manual_seed(seed)
    made = QwenImageTransformer2DModel(
        patch_size=2, in_channels=64, out_channels=16, num_layers=LAYERS, attention_head_dim=32,
        num_attention_heads=2, joint_attention_dim=48, axes_dims_rope=(8, 12, 12),
        zero_cond_t=zero_cond,
    )  # fmt: skip
    return made.eval()


def adapted(targets: tuple[str, ...] = lora.TARGETS, **kind: Any) -> tuple[Any, dict[str, Any]]:
    made = model(**kind)
    weights = lora.add_adapter(made, rank=4, seed=1, targets=targets)
    with torch.no_grad():
        for i, (name, weight) in enumerate(weights.items()):
            if "lora_B" in name:
                generator = torch.Generator().manual_seed(i)
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.1)
    return made, weights


def inputs(batch: int = 2, *, reference: bool = False, ragged: bool = False) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    shapes = [(1, 4, 6), (1, 2, 4)] if reference else [(1, 4, 6)]
    tokens = sum(a * b * c for a, b, c in shapes)
    mask = None
    if ragged:
        mask = torch.ones(batch, 9, dtype=torch.bool)
        for i in range(1, batch):
            mask[i, 9 - 2 * i :] = False
    return {
        "hidden_states": torch.randn(batch, tokens, 64, generator=generator),
        "encoder_hidden_states": torch.randn(batch, 9, 48, generator=generator),
        "encoder_hidden_states_mask": mask,
        "timestep": torch.rand(batch, generator=generator),
        "img_shapes": [shapes] * batch,
    }


def gradient(weights: dict[str, Any]) -> Tensor:
    """Of the whole LoRA; the text stream behind the last attention has none."""
    found = (torch.zeros_like(w) if w.grad is None else w.grad for w in weights.values())
    return torch.cat([g.flatten() for g in found])


def run(made: Any, weights: dict[str, Any], given: dict[str, Any]) -> tuple[Tensor, Tensor]:
    """Output of the target tokens and the LoRA's whole gradient."""
    out = made(**given, return_dict=False)[0][:, :24]
    for weight in weights.values():
        weight.grad = None
    out.square().mean().backward()
    return out.detach(), gradient(weights)


def far(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


EXACT = 2e-6
"""Relative: float32 sums in another order."""


@pytest.mark.parametrize(
    ("choice", "given", "kind"),
    [
        (Choice(), {}, {}),
        (Choice(hoist=False), {"reference": True}, {}),
        (Choice(whole=LAYERS), {"reference": True}, {"zero_cond": True}),
        (Choice(whole=1, attention=2), {}, {}),
        (Choice(attention=LAYERS, table=True), {"reference": True}, {"zero_cond": True}),
        (Choice(whole=LAYERS, swapped=3), {}, {}),
        (Choice(whole=2, swapped=2, ring=1, table=True), {"ragged": True}, {}),
        (Choice(), {"ragged": True, "batch": 3}, {}),
        (Choice(no_mask_tokens=1), {"ragged": True, "batch": 3, "reference": True}, {}),
        (
            Choice(no_mask_tokens=1, whole=1, attention=2, table=True),
            {"ragged": True, "batch": 3, "reference": True},
            {"zero_cond": True},
        ),
    ],
    ids=str,
)
def test_every_way_gives_diffusers_output_and_gradients(
    choice: Choice, given: dict[str, Any], kind: dict[str, Any]
) -> None:
    made, weights = adapted(**kind)
    data = inputs(**given)
    expected = run(made, weights, data)
    engine = install(made, choice)
    for _ in range(2):  # the second step begins with what the first left in the ring
        found = run(made, weights, data)
        assert far(found[0], expected[0]) < EXACT
        assert far(found[1], expected[1]) < EXACT
    # diffusers' pipelines hand on an empty dict, and want an output object
    with torch.no_grad():
        assert far(made(**data, attention_kwargs={}).sample[:, :24], expected[0]) < EXACT
    if choice.swapped or choice.table:
        with pytest.raises(UsageError, match="attention_kwargs"):
            made(**data, attention_kwargs={"scale": 0.5})
    else:
        made(**data, attention_kwargs={"scale": 0.5})
    engine.remove()
    if not (choice.swapped or choice.table):
        assert torch.equal(run(made, weights, data)[0], expected[0])


def test_captions_of_any_length_are_packed_and_each_picture_is_as_if_it_were_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made, weights = adapted(lora.BLOCK_LINEARS)
    data = inputs(3, ragged=True, reference=True)
    lengths = data["encoder_hidden_states_mask"].sum(dim=1).tolist()
    padded = run(made, weights, data)  # diffusers', with its mask
    engine = install(made, Choice(no_mask_tokens=1, attention=LAYERS))
    alone = []
    for i, length in enumerate(lengths):
        one = {
            "hidden_states": data["hidden_states"][i : i + 1],
            "encoder_hidden_states": data["encoder_hidden_states"][i : i + 1, :length],
            "encoder_hidden_states_mask": None,
            "timestep": data["timestep"][i : i + 1],
            "img_shapes": data["img_shapes"][:1],
        }
        alone.append(run(made, weights, one))
    kernel, widths = torch.nn.functional.scaled_dot_product_attention, []

    def attention(*args: Any, **given: Any) -> Tensor:
        assert given.get("attn_mask") is None
        return kernel(*args, **given)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", attention)
    made.txt_in.register_forward_hook(lambda _, given, out: widths.append(tuple(out.shape[:2])))
    found = run(made, weights, data)
    assert widths == [(1, sum(lengths))], "no padding is computed"
    assert far(found[0], torch.cat([out for out, _ in alone])) < EXACT
    assert far(found[1], torch.stack([g for _, g in alone]).mean(dim=0)) < EXACT
    assert far(found[0], padded[0]) < EXACT and far(found[1], padded[1]) < EXACT
    engine.remove()


def test_a_lora_on_the_modulations_keeps_its_gradient_and_refuses_the_table() -> None:
    made, weights = adapted(lora.BLOCK_LINEARS)
    expected = run(made, weights, inputs())
    install(made, Choice(whole=LAYERS))
    found = run(made, weights, inputs())
    assert far(found[1], expected[1]) < EXACT
    assert all(float(w.grad.abs().max()) > 0 for n, w in weights.items() if "_mod" in n)
    with pytest.raises(UsageError, match="table"):
        install(made, Choice(table=True))


def test_swapped_blocks_come_in_time_and_only_as_often_as_they_must() -> None:
    made, weights = adapted()
    data = inputs()
    plain = install(made, Choice(whole=LAYERS))
    expected = run(made, weights, data)
    plain.remove()
    ring = install(made, Choice(whole=LAYERS, swapped=LAYERS, ring=2)).swap
    found = run(made, weights, data)
    assert torch.equal(found[0], expected[0]) and torch.equal(found[1], expected[1])
    # forward: all four; backward: the last two are still there
    assert (ring.moves, ring.late) == (LAYERS + LAYERS - 2, 1)
    run(made, weights, data)
    assert (ring.moves, ring.late) == (6 + 2 * (LAYERS - 2), 1)  # and the first two still here
    with torch.no_grad():  # inference goes round and round
        for _ in range(3):
            made(**data)
    assert ring.late == 1
    host = sum(h.numel() for h in ring.host.values())
    assert sum(s.numel() for s in ring.slots) * 2 == host  # half of the blocks' bytes


def test_the_table_makes_each_level_once_and_always_with_the_same_bits() -> None:
    made, weights = adapted()
    engine = install(made, Choice(table=True))
    assert engine.table is not None
    levels = torch.linspace(0.1, 0.9, 10)
    engine.expect(levels)
    data = inputs()
    later = {**data, "timestep": levels[4:6].clone()}
    early = {**data, "timestep": levels[:2].clone()}
    first = run(made, weights, early)
    run(made, weights, later)
    assert engine.table.made == 10  # one chunk, whatever is asked for first
    engine.expect(levels)
    run(made, weights, later)  # as after a kill: the run goes on in the middle
    again = run(made, weights, early)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    run(made, weights, {**data, "timestep": torch.tensor([0.123, 0.456])})
    assert engine.table.made == 22
    for other in (levels[:3], levels.flip(0), []):  # a shorter run, another order, singly
        engine.expect(other)
        engine.table.single.clear()
        again = run(made, weights, early)
        assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])


@pytest.mark.parametrize("precision", ["int8", "fp8", "nf4"])
def test_a_quantised_base_gives_gradients_near_the_full_ones(precision: Any) -> None:
    made, weights = adapted(seed=6)
    data = inputs(reference=True)
    expected = run(made, weights, data)
    install(made, Choice(precision=precision, whole=LAYERS))
    found = run(made, weights, data)
    # four blocks deep errors add up; the bound of one product is in `quantised.ERROR`
    bound = {"int8": 0.06, "fp8": 0.2, "nf4": 0.35}[precision]
    assert far(found[0], expected[0]) < bound
    assert far(found[1], expected[1]) < bound
    direction = torch.nn.functional.cosine_similarity(found[1], expected[1], dim=0)
    assert direction > 1 - bound**2


@pytest.mark.parametrize("kernel", [None, SDPBackend.MATH])
def test_bf16_autocast_is_that_of_the_plain_loop(kernel: Any) -> None:
    from peft.helpers import disable_input_dtype_casting

    made, weights = adapted()

    def cast() -> tuple[Tensor, Tensor]:
        with (
            torch.autocast("cpu", torch.bfloat16),
            disable_input_dtype_casting(made),
            sdpa_kernel(kernel) if kernel else nullcontext(),
        ):
            out = made(**inputs(), return_dict=False)[0]
        for weight in weights.values():
            weight.grad = None
        out.float().square().mean().backward()
        return out.detach(), gradient(weights)

    expected = cast()
    install(made, Choice(whole=2, attention=1))
    found = cast()
    assert found[0].dtype == torch.bfloat16
    assert far(found[0].float(), expected[0].float()) < 4e-3
    assert far(found[1], expected[1]) < 1e-2


def test_less_memory_at_every_rung_and_the_same_gradients_down_to_the_last() -> None:
    made, weights = adapted()
    expected = run(made, weights, inputs())
    choice: Choice | None = Choice()
    rungs = []
    while choice is not None:
        engine = install(made, choice)
        found = run(made, weights, inputs())
        assert far(found[1], expected[1]) < EXACT
        engine.remove()
        rungs.append((choice.attention, choice.whole, choice.swapped))
        choice = less(choice, LAYERS)
    assert rungs[:4] == [(0, 0, 0), (2, 0, 0), (3, 0, 0), (4, 0, 0)]
    assert rungs[-1] == (0, LAYERS, LAYERS) and len(rungs) == 11


@pytest.mark.long
def test_compiled_blocks_are_one_piece_of_code_with_the_same_gradients() -> None:
    """Minutes where a C++ compiler is slow to start; the GPU bench uses it throughout."""
    import torch._dynamo

    for precision, bound in (("bf16", 1e-4), ("int8", 0.06)):
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        made, weights = adapted(seed=6)
        expected = run(made, weights, inputs(reference=True))
        install(made, Choice(precision=precision, whole=2, attention=1, compile=True))
        found = run(made, weights, inputs(reference=True))
        assert far(found[0], expected[0]) < bound and far(found[1], expected[1]) < bound
        stats = torch._dynamo.utils.counters["stats"]
        assert stats["unique_graphs"] <= 6  # before and behind, not one of each a block
        assert not torch._dynamo.utils.counters["graph_break"]
    made, weights = adapted()  # captions of other lengths: compiled once more, for all of them
    install(made, Choice(compile=True))
    torch._dynamo.reset()
    for texts in (9, 7, 6, 5, 4):
        data = inputs()
        data["encoder_hidden_states"] = data["encoder_hidden_states"][:, :texts].contiguous()
        before = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        run(made, weights, data)
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == before
