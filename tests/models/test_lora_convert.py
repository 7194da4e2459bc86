"""LoRA files between programs: there and back is the same bytes, and what is ignored is named."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.cli import shell
from limner.errors import InputError, UsageError
from limner.models import lora, tensorfile
from limner.models.lora_convert import convert
from limner.models.lora_naming import BLOCK_LINEARS, TOP_LINEARS, parse_key, write_key
from limner.models.tensorfile import Tensor

MODULES = [f"transformer_blocks.{i}.{name}" for i in (0, 11) for name in BLOCK_LINEARS]
MODULES += list(TOP_LINEARS)


def write(
    path: Path,
    naming: str,
    *,
    dtype: str = "BF16",
    rank: int = 4,
    alpha: float | None = None,
    alpha_type: str = "BF16",
    meta: dict[str, str] | None = None,
    prefix: str = "",
) -> dict[str, Tensor]:
    rng = np.random.default_rng(3)
    tensors: dict[str, Tensor] = {}
    for module in MODULES:
        down = rng.standard_normal((rank, 6)).astype(np.float32)
        up = rng.standard_normal((5, rank)).astype(np.float32) * np.float32(1e-3)
        tensors[write_key(naming, module, "down")] = tensorfile.encode(down, dtype)  # type: ignore[arg-type]
        tensors[write_key(naming, module, "up")] = tensorfile.encode(up, dtype)  # type: ignore[arg-type]
        if alpha is not None:
            data = tensorfile.encode(np.array([alpha], np.float32), alpha_type).data
            if alpha_type == "I64":
                data = int(alpha).to_bytes(8, "little")
            tensors[write_key(naming, module, "alpha")] = Tensor(alpha_type, (), data)  # type: ignore[arg-type]
    tensors = {f"{prefix}{k}": t for k, t in tensors.items()}
    tensorfile.write(path, tensors, meta or {})
    return tensors


@pytest.mark.parametrize("naming", ["diffusers", "comfyui", "kohya"])
def test_every_name_can_be_read_back(naming: str) -> None:
    for module in MODULES:
        for part in ("down", "up", "alpha"):
            parsed = parse_key(write_key(naming, module, part))  # type: ignore[arg-type]
            assert parsed is not None and parsed[1:] == (module, part)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(["diffusers", "comfyui", "kohya"]),
    st.lists(st.sampled_from(["diffusers", "comfyui", "kohya"]), min_size=1, max_size=4),
    st.sampled_from(["BF16", "F16", "F32"]),
    st.sampled_from([None, 1.0, 2.0, 3.0, 4.0, 8.0, 5.5]),
    st.sampled_from(["BF16", "F32", "I64"]),
)
def test_there_and_back_is_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory,
    first: str,
    way: list[str],
    dtype: str,
    alpha: float | None,
    alpha_type: str,
) -> None:
    folder = tmp_path_factory.mktemp("way")
    with_alpha = (alpha or 4.0) if first == "kohya" else None
    if alpha == 5.5 and alpha_type == "I64":
        with_alpha = 5.0 if first == "kohya" else None
    start = write(
        folder / "0.safetensors", first, dtype=dtype, alpha=with_alpha, alpha_type=alpha_type
    )
    here, exact = folder / "0.safetensors", True
    for number, to in enumerate([*way, first], start=1):
        there = folder / f"{number}.safetensors"
        exact = convert(here, there, to)["exact"] and exact  # type: ignore[arg-type]
        assert lora.check(there) == [], to
        here = there
    if exact:
        assert tensorfile.read(here)[0] == start
    else:
        assert dtype == "F32", "only fp32 files with an odd scale are rounded"


def test_the_scale_is_folded_where_a_naming_has_none(tmp_path: Path) -> None:
    start = write(tmp_path / "k.safetensors", "kohya", alpha=1.0, meta={"ss_network_alpha": "1"})
    found = convert(tmp_path / "k.safetensors", tmp_path / "d.safetensors", "diffusers")
    assert (found["alpha"], found["exact"], found["was"]) == ("folded", True, "kohya")
    tensors, header = tensorfile.read(tmp_path / "d.safetensors")
    module = "transformer_blocks.11.txt_mlp.net.2"
    before = start[write_key("kohya", module, "up")].floats()
    assert np.array_equal(tensors[write_key("diffusers", module, "up")].floats(), before / 4)
    assert {t.dtype for t in tensors.values()} == {"BF16"}, "a power of two needs no wider type"
    assert not [k for k in tensors if k.endswith("alpha")]
    assert json.loads(header["lora_adapter_metadata"])["transformer.lora_alpha"] == 4
    assert (
        header["ss_network_alpha"] == "4"
        and "norm_out.linear"
        in json.loads(header["lora_adapter_metadata"])["transformer.target_modules"]
    )
    again = convert(tmp_path / "d.safetensors", tmp_path / "k2.safetensors", "kohya")
    assert again["alpha"] == "restored"
    assert tensorfile.read(tmp_path / "k2.safetensors")[0] == start


def test_a_folded_file_changed_since_is_not_unfolded(tmp_path: Path) -> None:
    write(tmp_path / "k.safetensors", "kohya", alpha=3.0)
    convert(tmp_path / "k.safetensors", tmp_path / "d.safetensors", "diffusers")
    tensors, header = tensorfile.read(tmp_path / "d.safetensors")
    name = write_key("diffusers", "img_in", "up")
    changed = tensorfile.encode(tensors[name].floats() * 1.01, "F32")
    tensorfile.write(tmp_path / "c.safetensors", {**tensors, name: changed}, header)
    convert(tmp_path / "c.safetensors", tmp_path / "k2.safetensors", "kohya")
    back = tensorfile.read(tmp_path / "k2.safetensors")[0]
    flat = "lora_unet_img_in"
    assert back[f"{flat}.lora_up.weight"] == changed, "nothing was undone that is not exact"
    assert back[f"{flat}.alpha"].floats() == 4, "alpha = rank: the strength stays"
    assert back["lora_unet_txt_in.alpha"].floats() == 3


def test_diffusers_loads_every_naming_with_the_same_weights(tmp_path: Path) -> None:
    from diffusers.loaders.lora_conversion_utils import (
        _convert_non_diffusers_qwen_lora_to_diffusers as read,
    )
    from safetensors.torch import load_file

    write(tmp_path / "k.safetensors", "kohya", alpha=2.0, dtype="F32")
    convert(tmp_path / "k.safetensors", tmp_path / "c.safetensors", "comfyui")
    convert(tmp_path / "k.safetensors", tmp_path / "d.safetensors", "diffusers")
    kohya = read(load_file(tmp_path / "k.safetensors"))
    comfy = read(load_file(tmp_path / "c.safetensors"))
    plain = load_file(tmp_path / "d.safetensors")
    assert set(kohya) == set(comfy) == set(plain)
    for module in MODULES:
        products = []
        for found in (kohya, comfy, plain):
            a = found[f"transformer.{module}.lora_A.weight"]
            products.append(found[f"transformer.{module}.lora_B.weight"] @ a)
        assert all((p - products[0]).abs().max() < 1e-7 for p in products)


def test_what_comfyui_passes_over_in_silence_is_named_once_and_can_be_converted(
    tmp_path: Path,
) -> None:
    path, out = tmp_path / "peft.safetensors", tmp_path / "out.safetensors"
    for prefix in ("base_model.model.", "base_model.model.transformer."):
        good = write(path, "diffusers")
        bare = {f"{prefix}{k.removeprefix('transformer.')}": t for k, t in good.items()}
        tensorfile.write(path, bare, {})
        rows = lora.check(path)
        assert [r["rule"] for r in rows] == ["lora-silent"] and "base_model" in rows[0]["text"]
        convert(path, out, "diffusers")
        assert tensorfile.read(out)[0] == good
    onetrainer = {
        "lora_transformer_" + k.removeprefix("lora_unet_"): t
        for k, t in write(path, "kohya", alpha=4.0).items()
    }
    tensorfile.write(path, onetrainer, {})
    assert [r["rule"] for r in lora.check(path)] == ["lora-silent"]
    convert(path, out, "comfyui")
    assert lora.check(out) == []


def test_other_adapters_gaps_and_narrow_types_are_named(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    good = write(path, "comfyui")
    one = good["diffusion_model.img_in.lora_A.weight"]
    lokr = {"diffusion_model.transformer_blocks.0.attn.to_q.lokr_w1": one}
    tensorfile.write(path, lokr, {})
    assert [r["rule"] for r in lora.check(path)] == ["lora-kind", "lora-empty"]
    with pytest.raises(InputError, match="LoKr"):
        convert(path, tmp_path / "y.safetensors", "kohya")
    gap = {k: t for k, t in good.items() if "blocks.11.attn.to_q" not in k}
    tensorfile.write(path, gap, {})
    assert [r["rule"] for r in lora.check(path)] == ["lora-gap"]
    narrow = {k: Tensor("F8_E4M3", t.shape, t.data[: len(t.data) // 2]) for k, t in good.items()}
    tensorfile.write(path, narrow, {})
    assert [r["rule"] for r in lora.check(path)] == ["lora-type"]


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    import pickle

    path = tmp_path / "lora.safetensors"
    path.write_bytes(pickle.dumps({"a": 1}))
    (tmp_path / "lora.pt").write_bytes(b"PK\x03\x04")
    for file in (path, tmp_path / "lora.pt"):
        with pytest.raises(InputError, match="pickle"):
            lora.info(file)
        with pytest.raises(InputError, match="pickle"):
            convert(file, tmp_path / "out.safetensors", "kohya")
        assert [r["rule"] for r in lora.check(file)] == ["lora-pickle"]


def test_broken_files_are_errors_with_words(tmp_path: Path) -> None:
    path, rng = tmp_path / "x.safetensors", random.Random(1)
    write(path, "diffusers")
    whole = path.read_bytes()
    for _ in range(150):
        data = bytearray(whole[: rng.choice([len(whole), rng.randrange(len(whole))])])
        for _ in range(rng.randint(1, 6)):
            if data:
                data[rng.randrange(min(len(data), 4000))] = rng.randrange(256)
        path.write_bytes(bytes(data))
        lora.check(path)
        for work in (lora.info, lambda p: convert(p, tmp_path / "y.safetensors", "kohya")):
            try:
                work(path)
            except InputError as error:
                assert error.what
    for header in (
        b"[]",
        b'{"__metadata__": 3}',
        b'{"a": 3}',
        b"[" * 9000,
        b'{"a":{"dtype":"F32","shape":[-1],"data_offsets":[4,0]}}',
    ):
        path.write_bytes(len(header).to_bytes(8, "little") + header)
        with pytest.raises(InputError):
            lora.info(path)


def test_the_commands_tell_convert_and_check(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "grace.safetensors"
    write(path, "kohya", alpha=1.0, meta={"ss_steps": "300"})
    assert shell.run(["lora", "info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["rank"], found["alpha"], found["naming"], found["step"]) == (4, 1, "kohya", 300)
    assert found["blocks"] == 2 and found["bytes"] == path.stat().st_size
    assert shell.run(["lora", "convert", str(path), "--to", "comfyui"]) == 0
    made = tmp_path / "grace.comfyui.safetensors"
    assert "alpha folded" in capsys.readouterr().out and lora.info(made).alpha is None
    assert shell.run(["lora", "check", str(made)]) == 0
    assert shell.run(["lora", "convert", str(path), "--to", "sdxl"]) == 2
    assert shell.run(["lora", "convert", str(made), "--to", "kohya", "--out", str(made)]) == 2
    tensors = tensorfile.read(path)[0]
    tensorfile.write(path, {k: t for k, t in tensors.items() if not k.endswith("alpha")}, {})
    capsys.readouterr()
    assert shell.run(["lora", "check", str(path), "--json"]) == 1
    row = json.loads(capsys.readouterr().out.splitlines()[-1])["findings"][0]
    assert row["rule"] == "lora-alpha" and row["what"] and row["instead"]
    with pytest.raises(UsageError):
        convert(path, path, "kohya")
