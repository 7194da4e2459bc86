"""A LoRA file: written the same twice, read without torch, refused when it would load wrongly."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.errors import InputError, UsageError
from limner.models import lora, tensorfile

MODULES = {f"transformer_blocks.{i}.{name}": (8, 6) for i in range(2) for name in lora.TARGETS}


def weights(rank: int = 4, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {}
    for module, (out, into) in MODULES.items():
        found[f"{module}.lora_A.weight"] = rng.standard_normal((rank, into)).astype(np.float32)
        found[f"{module}.lora_B.weight"] = rng.standard_normal((out, rank)).astype(np.float32)
    return found


def rules(path: Path) -> set[str]:
    return {finding["rule"] for finding in lora.check(path, MODULES)}


def test_a_saved_lora_is_the_same_twice_and_read_by_others(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    values = weights()
    meta = {"modelspec.title": "Grace", "limner.step": "100"}
    first = lora.save(tmp_path / "a.safetensors", values, meta)
    second = lora.save(tmp_path / "b.safetensors", dict(reversed(values.items())), meta)
    assert first == second, "order of the dictionary must not reach the file"
    read = load_file(tmp_path / "a.safetensors")
    key = "transformer.transformer_blocks.0.attn.to_q.lora_A.weight"
    assert np.array_equal(read[key], values[key.removeprefix("transformer.")])
    facts = lora.info(tmp_path / "a.safetensors")
    assert (facts.rank, facts.alpha, facts.naming, facts.step) == (4, 4.0, "diffusers", 100)
    assert facts.modules == tuple(sorted(MODULES)) and facts.leftover == ()
    assert facts.metadata["modelspec.hash_sha256"] == f"0x{facts.tensor_sha256}"
    assert rules(tmp_path / "a.safetensors") == set()


def test_reading_and_checking_need_no_torch(tmp_path: Path) -> None:
    lora.save(tmp_path / "a.safetensors", weights(), {})
    code = (
        "import sys; from pathlib import Path; from limner.models import lora;"
        f"p = Path({str(tmp_path / 'a.safetensors')!r}); lora.info(p); lora.check(p);"
        "assert not {'torch', 'diffusers', 'peft'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_way_to_load_wrongly_is_named(tmp_path: Path) -> None:
    good, path = weights(), tmp_path / "bad.safetensors"

    def write(values: dict[str, np.ndarray], meta: dict[str, str] | None = None) -> set[str]:
        tensors = {k: tensorfile.encode(v, "F32") for k, v in values.items()}
        tensorfile.write(path, tensors, meta or {})
        return rules(path)

    named = {f"transformer.{k}": v for k, v in good.items()}
    assert write(named) == set()
    assert write({f"base_model.model.{k}": v for k, v in good.items()}) == {"lora-silent"}
    alpha = {"transformer.transformer_blocks.0.attn.to_q.alpha": np.float32([2.0])}
    assert write(named | alpha) == {"lora-alpha"}
    foreign = {k.replace("blocks.1.", "blocks.7."): v for k, v in named.items()}
    assert write(foreign) == {"lora-module"}
    key = "transformer.transformer_blocks.0.attn.to_q.lora_B.weight"
    assert write(named | {key: np.ones((9, 4), np.float32)}) == {"lora-shape"}
    assert write({k: v for k, v in named.items() if k != key}) == {"lora-pair"}
    assert write(named | {key: np.full((8, 4), np.nan, np.float32)}) == {"lora-finite"}
    still = {k: v * 0 if "lora_B" in k else v for k, v in named.items()}
    assert write(still) == {"lora-zero"}
    assert write(named, {"ss_datasets": '{"dir": "/home/me/data"}'}) == {"lora-path"}
    assert write(named, {"site": "https://example.org/a/b"}) == set()
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    assert rules(path) == {"lora-unreadable"}
    path.write_bytes(b"not a model")
    assert rules(path) == {"lora-unreadable"}


def test_another_trainers_scale_is_folded_in(tmp_path: Path) -> None:
    values = weights()
    kohya = {}
    for name, value in values.items():
        module, part = name.rsplit(".lora_", 1)
        stem = "lora_unet_" + module.replace(".", "_")
        kohya[f"{stem}.lora_{'down' if part[0] == 'A' else 'up'}.weight"] = value
        kohya[f"{stem}.alpha"] = np.array(1.0, np.float32)  # musubi's default: 1/rank of strength
    source, out = tmp_path / "kohya.safetensors", tmp_path / "plain.safetensors"
    tensorfile.write(source, {k: tensorfile.encode(v, "F32") for k, v in kohya.items()}, {})
    assert lora.info(source).naming == "kohya" and lora.info(source).alpha == 1.0
    lora.fold(source, out)
    tensors, metadata = tensorfile.read(out)
    name = "transformer_blocks.1.img_mlp.net.0.proj.lora_B.weight"
    assert np.allclose(tensors[f"transformer.{name}"].floats(), values[name] / 4)
    assert json.loads(metadata["lora_adapter_metadata"])["transformer.lora_alpha"] == 4
    assert rules(out) == set()


def test_a_changed_header_leaves_tensor_bytes_alone(tmp_path: Path) -> None:
    a, b = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    first = lora.save(a, weights(), {"modelspec.title": "Grace"})
    second = lora.with_metadata(a, b, {"modelspec.usage_hint": "0.8", "modelspec.title": None})
    assert first != second
    assert lora.info(a).tensor_sha256 == lora.info(b).tensor_sha256
    assert "modelspec.title" not in lora.info(b).metadata and rules(b) == set()
    with pytest.raises(UsageError, match="path of this machine"):
        lora.save(a, weights(), {"note": "/home/someone/secret"})
    with pytest.raises(InputError):
        lora.fold(b.with_name("missing.safetensors"), a)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False), min_size=1, max_size=40))
def test_bf16_rounds_as_torch_does(values: list[float]) -> None:
    import torch

    array = np.array(values, np.float32)
    ours = tensorfile.encode(array, "BF16").floats()
    theirs = torch.from_numpy(array).to(torch.bfloat16).float().numpy()
    assert np.array_equal(ours, theirs)
