"""What the trainer feeds the transformer is what inference feeds it: diffusers and ComfyUI.

Held to the number for text alone and for 1, 2 and 3 references, for all three families of base.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from limner.errors import InputError
from limner.models import lora, resolve_base
from limner.training import data, prepare
from limner.training.config import RunConfig
from limner.training.order import Bucket
from limner.training.rules import rules
from limner.training.trainer import Example, Trainer

CAPTION = "grace_char, close-up portrait, wearing beige sweater and jeans"
SIDE = 64


def config_for(template: str, **changes: Any) -> RunConfig:
    made = RunConfig(
        base="", base_fingerprint="", template=template, resolution=SIDE, rank=2,
        targets=lora.TARGETS, learning_rate=1e-3, steps=3, batch=1, checkpoints=(3,),
        precision="fp32", attention="default", threads=1, device="cpu",
        gradient_checkpointing=False, seed=1, caption_dropout=0.0, dataset_version=1,
        data_sha256="", values=rules(),
    )  # fmt: skip
    return replace(made, **changes)


def picture(folder: Path, seed: int) -> data.Picture:
    path = folder / f"p{seed}.png"
    noise = np.random.default_rng(seed).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return data.Picture(f"p{seed}", path, CAPTION, f"{seed:064d}", SIDE, SIDE)


@contextmanager
def recorded(transformer: Any) -> Iterator[list[dict[str, Any]]]:
    seen: list[dict[str, Any]] = []
    original = transformer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs)
        return original(*args, **kwargs)

    transformer.forward = forward
    try:
        yield seen
    finally:
        transformer.forward = original


@contextmanager
def mended(base: Any) -> Iterator[None]:
    """diffusers' edit pipeline drops the processor's token types (issue 14194): hand them in."""
    encoder = base.text_encoder
    original = encoder.forward
    image = base.tokenizer.convert_tokens_to_ids("<|image_pad|>")

    def forward(*args: Any, **kwargs: Any) -> Any:
        kwargs["mm_token_type_ids"] = (kwargs["input_ids"] == image).long()
        return original(*args, **kwargs)

    encoder.forward = forward
    try:
        yield
    finally:
        encoder.forward = original


def fed_by_trainer(base: Any, example: Example, noise: Any, template: str) -> dict[str, Any]:
    """The transformer's arguments in a training step at sigma = 1, where x is the noise."""
    import torch

    trainer = Trainer(base, config_for(template), [example], [Bucket(SIDE, SIDE, (0,))])
    with recorded(base.transformer) as seen:
        trainer.loss([example], [0], [False], noise, torch.ones(1))
    return seen[0]


def same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    import torch

    assert ours["hidden_states"].shape == theirs["hidden_states"].shape
    assert torch.allclose(ours["hidden_states"], theirs["hidden_states"], atol=1e-5)
    assert torch.allclose(ours["encoder_hidden_states"], theirs["encoder_hidden_states"], atol=1e-5)
    assert torch.equal(ours["timestep"], theirs["timestep"])
    assert ours["img_shapes"] == theirs["img_shapes"]
    assert ours["encoder_hidden_states_mask"] is None, "a mask of ones costs the fast kernels"
    assert theirs["encoder_hidden_states_mask"] is None


@pytest.mark.parametrize(
    ("family", "count"),
    [
        ("qwen-image", 0),
        ("qwen-image-edit-2509", 0),
        ("qwen-image-edit-2509", 1),
        ("qwen-image-edit-2509", 2),
        ("qwen-image-edit-2509", 3),
        ("qwen-image-edit-2511", 0),
        ("qwen-image-edit-2511", 2),
    ],
)
def test_a_training_step_feeds_what_the_pipeline_feeds(
    families: dict[str, Path], tmp_path: Path, family: str, count: int
) -> None:
    import torch

    from limner.models import open_base

    info = resolve_base(str(families[family]))
    assert info.family == family
    base = open_base(replace(info, reference_area=SIDE * SIDE, condition_area=SIDE * SIDE))
    template = "edit" if count else "t2i"
    encoder = prepare.Encoder(base, prepare.Cache(tmp_path / "cache", ""), template, SIDE)
    shown = tuple(picture(tmp_path, seed) for seed in range(1, count + 1))
    example = encoder.example(picture(tmp_path, 0), [shown])
    noise = torch.randn(1, (SIDE // 16) ** 2, 64, generator=torch.Generator().manual_seed(3))
    asked: dict[str, Any] = {
        "prompt": CAPTION, "height": SIDE, "width": SIDE, "num_inference_steps": 2,
        "latents": noise, "output_type": "latent",
    }  # fmt: skip
    if count:
        asked["image"] = [Image.open(p.path) for p in shown]
    with recorded(base.transformer) as seen, mended(base):
        base.pipeline(template)(**asked)
    ours = fed_by_trainer(base, example, noise, template)
    same(ours, seen[0])
    assert ours["hidden_states"].shape[1] == noise.shape[1] * (1 + count)
    with torch.no_grad():
        assert torch.allclose(
            base.transformer(**ours)[0], base.transformer(**seen[0])[0], atol=1e-5
        ), "and so the model says the same, zero_cond_t included"


def comfy_positions(grids: list[tuple[int, int]], text: int) -> tuple[np.ndarray, np.ndarray]:
    """ComfyUI's position ids (its Qwen-Image model, references by index), written from its rule.

    grids: token rows and columns of target and references. The i-th picture has frame i, its rows
    and columns are counted from its middle (h // 2, w // 2); text runs along the diagonal of all
    three axes from half the target's larger side. Returns (text ids, picture ids), (n, 3) each.
    """
    pictures = []
    for index, (rows, columns) in enumerate(grids):
        y, x = np.mgrid[0:rows, 0:columns]
        frame = np.full_like(y, index)
        ids = np.stack([frame, y - rows // 2, x - columns // 2], axis=-1)
        pictures.append(ids.reshape(-1, 3))
    start = max(grids[0][0] // 2, grids[0][1] // 2)
    words = np.repeat(np.arange(start, start + text)[:, None], 3, axis=1)
    return words, np.concatenate(pictures)


def rotations(ids: np.ndarray, axes: tuple[int, ...], theta: float = 10_000.0) -> np.ndarray:
    """cos and sin of every position on every frequency: (n, sum of axes / 2, 2)."""
    parts = []
    for axis, width in enumerate(axes):
        omega = theta ** (-np.arange(0, width, 2, dtype=np.float64) / width)
        angle = ids[:, axis : axis + 1] * omega[None]
        parts.append(np.stack([np.cos(angle), np.sin(angle)], axis=-1))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("grids", [[(4, 4)], [(4, 6), (4, 4)], [(8, 4)] * 3, [(6, 6)] * 4])
def test_positions_are_comfyuis_for_even_sides(
    tiny_base: Path, grids: list[tuple[int, int]]
) -> None:
    from limner.models import open_base
    from limner.models.base import token_grid

    base = open_base(str(tiny_base))
    shapes = [token_grid(16 * rows, 16 * columns) for rows, columns in grids]
    pictures, words = base.transformer.pos_embed([shapes], max_txt_seq_len=9)
    text_ids, picture_ids = comfy_positions(grids, 9)
    axes = tuple(base.transformer.config.axes_dims_rope)

    def both(ours: Any) -> np.ndarray:
        return np.stack([ours.real.numpy(), ours.imag.numpy()], axis=-1)

    assert np.allclose(both(pictures), rotations(picture_ids, axes), atol=1e-5)
    assert np.allclose(both(words), rotations(text_ids, axes), atol=1e-5)


def test_where_comfyui_and_diffusers_part_the_trainer_avoids_it(tiny_base: Path) -> None:
    """An odd side is centred one token apart, so buckets of the real model have even sides."""
    from limner.models import open_base

    base = open_base(str(tiny_base))
    pictures, _ = base.transformer.pos_embed([[(1, 5, 4)]], max_txt_seq_len=1)
    axes = tuple(base.transformer.config.axes_dims_rope)
    theirs = rotations(comfy_positions([(5, 4)], 1)[1], axes)
    assert not np.allclose(pictures.real.numpy(), theirs[..., 0], atol=1e-3)
    for width, height in [(3000, 2000), (900, 1400), (700, 701), (333, 999), (16, 5000)]:
        for resolution in (512, 768, 1024):
            sides = data.bucket_size(width, height, resolution)
            assert all(side % 32 == 0 for side in sides)


def test_packed_latents_are_in_comfyuis_order() -> None:
    """A token holds channel, then row, then column of its 2 x 2 cells: in ComfyUI as here."""
    import torch

    from limner.models.base import pack

    z = torch.arange(16 * 4 * 6).view(1, 16, 4, 6)
    packed = pack(z)
    for token, (row, column) in enumerate((r, c) for r in range(2) for c in range(3)):
        cells = z[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        assert torch.equal(packed[0, token], cells.reshape(-1))


def test_the_vision_encoder_sees_the_picture_and_not_a_black_one(
    families: dict[str, Path], tmp_path: Path
) -> None:
    """ai-toolkit hands 0..1 floats to a processor that divides by 255 again: almost black."""
    import torch

    from limner.models import open_base

    base = open_base(str(families["qwen-image-edit-2509"]))
    shown = Image.open(picture(tmp_path, 5).path)
    seen: list[Any] = []
    original = base.processor.__class__.__call__

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = original(self, *args, **kwargs)
        seen.append(out["pixel_values"])
        return out

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(base.processor.__class__, "__call__", spy)
        ours = base.encode_prompts([CAPTION], "edit", [[shown]])[0]
    pixels = seen[0].float()
    assert abs(float(pixels.mean())) < 0.6 and float(pixels.std()) > 0.4
    black = base.encode_prompts([CAPTION], "edit", [[Image.new("RGB", (SIDE, SIDE))]])[0]
    assert not torch.allclose(ours, black, atol=1e-3)


def test_gradients_equal_those_of_a_plain_implementation(tiny_base: Path) -> None:
    """The paper's few lines, without any of our helpers, on the same transformer."""
    import torch

    from limner.models import open_base

    base = open_base(str(tiny_base))
    made = torch.Generator().manual_seed(0)
    tokens = (SIDE // 16) ** 2
    examples = [
        Example(SIDE, SIDE, torch.randn(tokens, 64, generator=made), [base.encode_prompts([w])[0]],
                [base.encode_prompts([""])[0]])
        for w in ("short", CAPTION, "grace_char in a park", "x")
    ]  # fmt: skip
    trainer = Trainer(
        base, config_for("t2i", batch=4), examples, [Bucket(SIDE, SIDE, (0, 1, 2, 3))]
    )
    for name, weight in trainer.weights.items():
        if name.endswith("lora_B.weight"):
            weight.data.normal_(0, 0.05, generator=made)
    chosen, slots, drop, noise, sigmas = trainer.batch(2)
    loss, norm = trainer.gradients(2)
    ours = {n: p.grad.clone() for n, p in trainer.weights.items() if p.grad is not None}
    scale = max(1.0, norm)

    for parameter in trainer.weights.values():
        parameter.grad = None
    grid = SIDE // 16
    total = torch.zeros(())
    for example, slot, gone, eps, t in zip(chosen, slots, drop, noise, sigmas, strict=True):
        x0, words = example.latents, (example.empty if gone else example.embeds)[slot]
        out = base.transformer(
            hidden_states=((1 - t) * x0 + t * eps)[None],
            timestep=t[None],
            encoder_hidden_states=words[None],
            encoder_hidden_states_mask=torch.ones(1, len(words), dtype=torch.bool),
            img_shapes=[[(1, grid, grid)]],
            return_dict=False,
        )[0]
        total = total + torch.nn.functional.mse_loss(out[0], eps - x0) / 4
    total.backward()
    assert math.isclose(loss, total.item(), rel_tol=1e-5)
    plain = {n: p.grad for n, p in trainer.weights.items() if p.grad is not None}
    assert set(plain) == set(ours) and len(ours) > 20
    for name, gradient in plain.items():
        assert torch.allclose(ours[name] * scale, gradient, rtol=1e-3, atol=1e-6), name

    trainer.chunk = 1
    trainer.optimizer.zero_grad(set_to_none=True)
    trainer.gradients(2)
    for name, gradient in ours.items():
        assert torch.allclose(trainer.weights[name].grad, gradient, rtol=1e-3, atol=1e-6)


def test_what_a_base_lacks_or_cannot_do_is_said(families: dict[str, Path], tmp_path: Path) -> None:
    info = resolve_base(str(families["qwen-image"]))
    assert info.templates == ("t2i",)
    with pytest.raises(InputError, match="no edit template"):
        info.require_template("edit")
    assert lora.architecture(families["qwen-image"]).startswith("Qwen-Image-2x")
    assert lora.architecture(families["qwen-image-edit-2511"]).startswith("Qwen-Image-Edit-2511")
    folder = tmp_path / "half"
    shutil.copytree(families["qwen-image-edit-2509"], folder)
    shutil.rmtree(folder / "processor")
    next((folder / "vae").glob("*.safetensors")).unlink()
    index = {"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}
    (folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json").write_text(
        json.dumps(index)
    )
    with pytest.raises(InputError) as error:
        resolve_base(str(folder))
    assert "processor/" in error.value.what and "vae/*.safetensors" in error.value.what
    assert "transformer/diffusion_pytorch_model-00001-of-00002.safetensors" in error.value.what
    other = {"_class_name": "FluxPipeline"}
    (folder / "model_index.json").write_text(json.dumps(other))
    with pytest.raises(InputError, match="FluxPipeline, which Limner does not train"):
        resolve_base(str(folder))


def test_the_loss_counts_the_face_more_and_a_measure_does_not(
    families: dict[str, Path], tmp_path: Path
) -> None:
    """A drawing of 128 px: weights by the share of each token that the face's box covers."""
    import torch

    from limner.atelier import Character, identity_from_seed, scene_for
    from limner.models import open_base
    from limner.vision import find_faces

    side = 128
    base = open_base(replace(resolve_base(str(families["qwen-image"])), is_drawing=True))
    scene = scene_for({"angle": "front", "framing": "close_up"}, 1)
    drawn = Character(identity_from_seed(7)).draw(scene, size=side).image
    path = tmp_path / "face.png"
    Image.fromarray(drawn).save(path)
    face = data.Picture("face", path, CAPTION, "f" * 64, side, side)
    cache = prepare.Cache(tmp_path / "cache", "")
    encoder = prepare.Encoder(base, cache, "t2i", side, face_weight=4.0)
    weights = encoder.weights(face, (side, side))
    assert weights is not None and weights.mean() == pytest.approx(1.0, abs=1e-5)
    grid = (weights / weights.min()).reshape(8, 8)  # outside the face a token counts 1
    left, top, right, bottom = find_faces(drawn)[0].box
    area = (right - left) * (bottom - top) / 16**2
    assert float((grid - 1).sum() / 3) == pytest.approx(area, rel=1e-3)
    assert grid[int((top + bottom) / 32), int((left + right) / 32)] == pytest.approx(4.0)
    assert encoder.weights(picture(tmp_path, 0), (SIDE, SIDE)) is None, "noise has no face"
    made = cache.made
    assert torch.equal(encoder.weights(face, (side, side)), weights) and cache.made == made

    example = encoder.example(face, [()])
    trainer = Trainer(base, config_for("t2i"), [example], [Bucket(side, side, (0,))])
    noise = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(3))
    given = ([example], [0], [False], noise, torch.full((1,), 0.7))
    plain = trainer.loss(*given, weighted=True)
    example.weights = weights
    assert torch.equal(trainer.loss(*given), plain), "held-out losses count all tokens alike"
    assert not torch.allclose(trainer.loss(*given, weighted=True), plain)
    example.weights = torch.ones_like(weights)
    assert torch.allclose(trainer.loss(*given, weighted=True), plain)
