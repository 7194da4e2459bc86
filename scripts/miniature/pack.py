"""Stage 5: the measured base becomes package data: bfloat16 weights, at most 30 MB."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from limner.models.info import MINIATURE, NUMBERS_FILE

LIMIT_MB = 30
NUMBERS = {
    "resolution": 128,
    "sampling_steps": 12,
    "true_cfg_scale": 3.0,
    "learning_rate": 5e-3,
    "face_weight": 4.0,
    "train_steps": 160,
    "batch": 8,
    "condition_area": 96 * 96,
    "reference_area": 128 * 128,
    "smallest_face_px": 32,
    "is_drawing": True,
}


def pack(work: Path) -> None:
    """Copy `work/base` into the package, weights as bfloat16; refuses above 30 MB."""
    from diffusers import AutoencoderKLQwenImage, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLForConditionalGeneration

    source, temp = work / "base", MINIATURE.with_name("miniature.part")
    shutil.rmtree(temp, ignore_errors=True)
    shutil.copytree(
        source, temp, ignore=shutil.ignore_patterns("*.safetensors", "measured.json", ".*")
    )
    classes = {
        "transformer": QwenImageTransformer2DModel,
        "vae": AutoencoderKLQwenImage,
        "text_encoder": Qwen2_5_VLForConditionalGeneration,
    }
    for part, cls in classes.items():
        model = cls.from_pretrained(source / part).to(torch.bfloat16)
        model.save_pretrained(temp / part)
    (temp / NUMBERS_FILE).write_text(json.dumps(NUMBERS, indent=1), encoding="utf-8")
    for config in temp.rglob("*.json"):  # folders of the machine that trained it stay out
        data = json.loads(config.read_text(encoding="utf-8"))
        if isinstance(data, dict) and data.pop("_name_or_path", None) is not None:
            config.write_text(json.dumps(data, indent=2, ensure_ascii=False), encoding="utf-8")
    measured = work / "measured.json"
    if measured.exists():
        (temp / "measured.json").write_text(measured.read_text())
    total = sum(f.stat().st_size for f in temp.rglob("*") if f.is_file()) / 1e6
    if total > LIMIT_MB:
        raise SystemExit(f"{total:.1f} MB is over the {LIMIT_MB} MB of the package")
    shutil.rmtree(MINIATURE, ignore_errors=True)
    temp.replace(MINIATURE)
    print(json.dumps({"megabytes": round(total, 1)}))
