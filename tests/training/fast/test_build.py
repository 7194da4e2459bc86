"""A transformer made block by block is the one diffusers loads, in whatever bits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from limner.errors import InputError
from limner.models import runtime
from limner.training.fast import Choice, install
from limner.training.fast.build import load_transformer, random_transformer
from limner.training.fast.engine import frozen_linears
from limner.training.fast.swap import SHARE, _views

SMALL: dict[str, Any] = {
    "num_layers": 3, "attention_head_dim": 32, "num_attention_heads": 2,
    "joint_attention_dim": 48, "axes_dims_rope": (8, 12, 12),
}  # fmt: skip


def call(model: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        found: torch.Tensor = model(
            hidden_states=torch.randn(1, 24, 64, generator=generator),
            encoder_hidden_states=torch.randn(1, 5, 48, generator=generator),
            timestep=torch.tensor([0.7]), img_shapes=[[(1, 4, 6)]], return_dict=False,
        )[0]  # fmt: skip
    return found


def test_a_folder_in_shards_gives_what_diffusers_loads(tmp_path: Path) -> None:
    runtime.prepare()
    from diffusers import QwenImageTransformer2DModel

    made = random_transformer(Choice(), "cpu", torch.float32, zero_cond_t=True, **SMALL)
    for parameter in made.parameters():
        if parameter.ndim > 1:
            parameter.data.mul_(8)  # so that the narrow blocks count
    made.save_pretrained(tmp_path / "whole")
    made.save_pretrained(tmp_path / "shards", max_shard_size="300KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    stock = QwenImageTransformer2DModel.from_pretrained(tmp_path / "whole").eval()
    expected = call(stock)
    for name in ("whole", "shards"):
        loaded = load_transformer(tmp_path / name, Choice(), "cpu", torch.float32)
        assert torch.equal(call(loaded), expected)
        assert loaded.config.zero_cond_t

    choice = Choice(precision="int8", table=True, whole=3, swapped=1)
    small = load_transformer(tmp_path / "shards", choice, "cpu", torch.float32)
    assert frozen_linears(small) == 3 * 12  # the table's modulations stay as they are
    install(small, choice)
    error = (call(small) - expected).norm() / expected.norm()
    assert 1e-4 < error < 0.05


def test_a_member_of_a_team_loads_its_share_alone(tmp_path: Path) -> None:
    random_transformer(Choice(), "cpu", **SMALL).save_pretrained(tmp_path / "t")
    whole = load_transformer(tmp_path / "t", Choice(), "cpu")
    expected = sum(p.nbytes for p in whole.transformer_blocks.parameters())
    shares = []
    for rank in range(2):
        part = load_transformer(tmp_path / "t", Choice(shard=True), "cpu", member=(rank, 2))
        blocks = part.transformer_blocks
        left = sum(p.untyped_storage().nbytes() for p in blocks.parameters())
        assert left < expected / 100, "the blocks themselves are empty"
        shares.append([getattr(block, SHARE) for block in blocks])
    held = [sum(s.numel() for s in own) for own in shares]
    assert held[0] == held[1] and expected / 2 <= held[0] < expected * 0.55
    tensors = list(whole.transformer_blocks[0].parameters())
    together = _views(torch.cat([own[0] for own in shares]), tensors)
    assert all(torch.equal(a, b) for a, b in zip(together, tensors, strict=True))


def test_a_broken_folder_is_named(tmp_path: Path) -> None:
    made = random_transformer(Choice(), "cpu", torch.float32, **SMALL)
    made.save_pretrained(tmp_path / "t")
    with pytest.raises(InputError, match="cannot be read"):
        load_transformer(tmp_path / "none", Choice(), "cpu")
    file = tmp_path / "t" / "diffusion_pytorch_model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be read"):
        load_transformer(tmp_path / "t", Choice(), "cpu")


def test_a_seed_gives_the_same_model_whatever_else_was_drawn() -> None:
    first = random_transformer(Choice(), "cpu", torch.float32, seed=3, **SMALL)
    torch.randn(7)
    again = random_transformer(Choice(), "cpu", torch.float32, seed=3, **SMALL)
    assert torch.equal(call(first), call(again))
