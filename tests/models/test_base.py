"""What Limner feeds the transformer is what diffusers' pipelines feed it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.errors import InputError
from limner.models import resolve_base

PROMPTS = ["grace_char, close-up portrait, wearing beige sweater and jeans", "short one"]


def picture(seed: int, size: tuple[int, int] = (64, 64)) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(noise)


def recorded(base: Any, pipeline: Any, **arguments: Any) -> list[dict[str, Any]]:
    """Run a pipeline and keep what it feeds the transformer."""
    seen: list[dict[str, Any]] = []
    original = base.transformer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs)
        return original(*args, **kwargs)

    base.transformer.forward = forward
    try:
        pipeline(**arguments)
    finally:
        base.transformer.forward = original
    return seen


def test_text_embeddings_equal_the_t2i_pipeline(base: Any) -> None:
    import torch

    ours = base.encode_prompts(PROMPTS)
    theirs, mask = base.pipeline("t2i").encode_prompt(PROMPTS)
    for row, embeds in enumerate(ours):
        assert int(mask[row].sum()) == len(embeds)
        assert torch.equal(theirs[row][mask[row].bool()], embeds)


def test_edit_embeddings_have_3d_positions_which_diffusers_drops(base: Any) -> None:
    """Equal to the pipeline once its missing token types are handed in (diffusers 14194)."""
    import torch

    references = [picture(1), picture(2, (96, 64))]
    ours = base.encode_prompts(PROMPTS[:1], "edit", [references])[0]
    pipeline = base.pipeline("edit")
    shown = [base.fit(p, base.info.condition_area) for p in references]
    theirs, _ = pipeline.encode_prompt(PROMPTS[:1], image=shown)
    assert ours.shape == theirs[0].shape
    assert not torch.allclose(ours, theirs[0], atol=1e-4), "the upstream fault is gone: say so"
    encoder = pipeline.text_encoder.forward

    def with_types(*args: Any, **kwargs: Any) -> Any:
        kwargs["mm_token_type_ids"] = (
            kwargs["input_ids"] == base.tokenizer.convert_tokens_to_ids("<|image_pad|>")
        ).long()
        return encoder(*args, **kwargs)

    pipeline.text_encoder.forward = with_types
    try:
        mended, _ = pipeline.encode_prompt(PROMPTS[:1], image=shown)
    finally:
        pipeline.text_encoder.forward = encoder
    assert torch.allclose(ours, mended[0], atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_references_are_packed_as_the_edit_pipeline_packs_them(base: Any, count: int) -> None:
    import torch

    references = [picture(k, (64, 64)) for k in range(count)]
    embeds = base.encode_prompts(PROMPTS[:1], "edit", [references])[0]
    seen = recorded(
        base,
        base.pipeline("edit"),
        image=references,
        prompt_embeds=embeds[None],
        height=64,
        width=64,
        num_inference_steps=2,
    )[0]
    ours = torch.cat(base.encode_images(references))
    assert seen["hidden_states"].shape[1] == 16 + 16 * count
    assert torch.allclose(seen["hidden_states"][0, 16:], ours, atol=1e-5)
    assert seen["img_shapes"] == [[(1, 4, 4)] * (1 + count)]
    assert seen["encoder_hidden_states_mask"] is None


def test_velocity_is_one_call_of_the_same_transformer(base: Any) -> None:
    import torch

    embeds = base.encode_prompts(PROMPTS[:1])
    seen = recorded(
        base,
        base.pipeline("t2i"),
        prompt_embeds=embeds[0][None],
        height=64,
        width=64,
        num_inference_steps=2,
    )[0]
    ours = base.velocity(seen["hidden_states"], seen["timestep"], embeds[0][None], None, (64, 64))
    with torch.no_grad():
        theirs = base.transformer(**seen)[0]
    assert torch.equal(ours, theirs)


def test_pictures_survive_packing_and_sizes_are_checked(base: Any) -> None:
    import torch

    from limner.models.base import pack, unpack

    z = torch.randn(2, 16, 12, 8)
    assert torch.equal(unpack(pack(z), 96, 64), z)
    with pytest.raises(InputError, match="multiples of 16"):
        base.encode_images([picture(3, (70, 64))])


def test_one_frame_needs_one_tap(base: Any) -> None:
    """The 2-D shortcut of the autoencoder gives what the stock causal convolution gives."""
    import torch
    from diffusers import AutoencoderKLQwenImage

    stock = AutoencoderKLQwenImage.from_pretrained(Path(base.info.path) / "vae")
    x = torch.randn(1, 3, 1, 64, 64)
    with torch.no_grad():
        ours = base.vae.encode(x).latent_dist.mode()
        theirs = stock.encode(x).latent_dist.mode()
    assert torch.allclose(ours, theirs, atol=1e-5)


def test_a_base_that_is_not_there_says_how_to_get_it(tmp_path: Path, random_base: Path) -> None:
    with pytest.raises(InputError, match=r"model_index\.json"):
        resolve_base(str(tmp_path))
    with pytest.raises(InputError) as error:
        resolve_base("Qwen/Qwen-Image-Edit-2509")
    assert "hf download Qwen/Qwen-Image-Edit-2509" in (error.value.fix or "")
    copy = tmp_path / "copy"
    shutil.copytree(random_base, copy)
    assert resolve_base(str(copy)).fingerprint == resolve_base(str(random_base)).fingerprint
    weights = next((copy / "transformer").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    assert resolve_base(str(copy)).fingerprint != resolve_base(str(random_base)).fingerprint
    weights.write_bytes(b"no tensors")
    with pytest.raises(InputError, match="no whole safetensors file"):
        from limner.models import open_base

        open_base(str(copy))


def test_padding_is_masked_and_a_full_batch_has_no_mask() -> None:
    import torch

    from limner.models.base import collate

    short, long = torch.ones(2, 4), torch.ones(5, 4)
    padded, mask = collate([short, long])
    assert mask is not None and mask.tolist() == [[True] * 2 + [False] * 3, [True] * 5]
    assert padded.shape == (2, 5, 4) and float(padded[0, 2:].abs().sum()) == 0
    assert collate([long, long])[1] is None
