"""The base model that comes in the package: small enough, whole, and measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from limner.models import open_base, resolve_base
from limner.models.info import MINIATURE

pytestmark = pytest.mark.skipif(
    not (MINIATURE / "model_index.json").is_file(), reason="the package holds no miniature"
)


def test_it_is_small_whole_and_names_no_machine() -> None:
    files = [f for f in MINIATURE.rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) < 30e6
    assert not [f for f in files if f.suffix in (".bin", ".pt", ".pkl", ".pickle")]
    for file in MINIATURE.rglob("*.json"):
        assert "_name_or_path" not in file.read_text(encoding="utf-8"), file
    info = resolve_base("miniature")
    assert info.resolution == 128 and info.is_drawing and len(info.fingerprint) == 64


def test_diffusers_opens_it_by_itself() -> None:
    from limner.models import runtime

    runtime.prepare()
    from diffusers import QwenImageEditPlusPipeline

    pipeline = QwenImageEditPlusPipeline.from_pretrained(MINIATURE)
    assert type(pipeline.transformer).__name__ == "QwenImageTransformer2DModel"


def test_what_the_manual_says_of_it_is_what_was_measured() -> None:
    measured = json.loads((MINIATURE / "measured.json").read_text(encoding="utf-8"))
    manual = (Path(__file__).parents[2] / "docs" / "miniature.md").read_text(encoding="utf-8")
    assert f"{measured['vae_psnr_db']:.1f} dB" in manual
    for name, share in measured["as_asked"].items():
        assert f"{100 * share:.0f} %" in manual, name
    assert measured["vae_psnr_db"] >= 30


def test_a_drawing_survives_the_autoencoder() -> None:
    import numpy as np
    import torch
    from PIL import Image

    from limner.atelier import Character, identity_from_seed, scene_for

    attributes = {
        "angle": "front",
        "framing": "close_up",
        "expression": "happy",
        "expression_variant": "0",
        "outfit": "white_tee_jeans",
        "setting": "park",
        "lighting": "overcast",
        "pose": "relaxed",
        "camera": "canon_85",
        "gaze": "camera",
    }
    drawing = Character(identity_from_seed(77)).draw(scene_for(attributes, 5), 128).image
    base = open_base("miniature")
    latents = torch.stack(base.encode_images([Image.fromarray(drawing)]))
    back = base.decode(latents, 128, 128)[0]
    error = float(np.mean((back.astype(float) - drawing) ** 2))
    assert 10 * np.log10(255**2 / error) > 26
