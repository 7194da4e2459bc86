"""Pictures from a small random base with random LoRAs, through the real pipelines."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from limner.errors import InputError, UsageError
from limner.models import build_random, open_base, resolve_base
from limner.models import lora as lora_files
from limner.project import files
from limner.render import (  # fmt: skip
    Cell,
    DiffusersRenderer,
    Settings,
    batch_size,
    batches,
    ensure_comparable,
    picture_sha256,
    png_bytes,
)

SETTINGS = Settings(
    base="f" * 64,
    template="t2i",
    width=64,
    height=64,
    steps=2,
    true_cfg_scale=2.0,
    precision="fp32",
)
PROMPTS = ["grace_char, red shirt", "grace_char smiling in a park on a sunny morning", "a cat"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = build_random(tmp_path_factory.mktemp("base") / "tiny")
    return open_base(resolve_base(str(folder)))


def random_lora(base: Any, path: Path, seed: int, scale: float = 0.3) -> Cell:
    rng = np.random.default_rng(seed)
    weights = {}
    for name, (rows, columns) in lora_files.base_modules(Path(base.info.path)).items():
        if name.endswith(("attn.to_q", "attn.to_v", "img_mlp.net.2")):
            weights[f"{name}.lora_A.weight"] = rng.normal(0, scale, (4, columns)).astype("f4")
            weights[f"{name}.lora_B.weight"] = rng.normal(0, scale, (rows, 4)).astype("f4")
    sha256 = lora_files.save(path, weights, {})
    return Cell(PROMPTS[0], 1, path, sha256, 1.0)


def draw(renderer: DiffusersRenderer, cells: list[Cell]) -> dict[Cell, np.ndarray[Any, Any]]:
    return dict(renderer.pictures(cells))


def test_a_picture_depends_on_its_cell_not_on_its_batch(base: Any, tmp_path: Path) -> None:
    lora = random_lora(base, tmp_path / "a.safetensors", 1)
    cells = [replace(lora, prompt=prompt, seed=seed) for prompt in PROMPTS for seed in (1, 2, 3, 4)]
    renderer = DiffusersRenderer(base, SETTINGS)
    together = draw(renderer, cells)
    assert len(together) == 12 and together[cells[0]].shape == (64, 64, 3)
    alone = draw(renderer, [cells[6]])[cells[6]]
    gap = np.abs(together[cells[6]].astype(int) - alone.astype(int)).max()
    assert gap <= 2  # padding changes the order of sums, nothing more
    others = [np.abs(together[c].astype(int) - alone.astype(int)).mean() for c in cells[:6]]
    assert min(others) > 0.3  # the nearest has the same noise and another prompt
    renderer.close()


def test_loras_are_swapped_and_leave_nothing_behind(base: Any, tmp_path: Path) -> None:
    plain = Cell(PROMPTS[0], 1)
    first = random_lora(base, tmp_path / "a.safetensors", 1)
    second = random_lora(base, tmp_path / "b.safetensors", 2)
    cells = [plain, first, replace(first, strength=0.5), replace(first, strength=0.0), second]
    renderer = DiffusersRenderer(base, SETTINGS)
    before = draw(renderer, [plain])[plain]
    made = draw(renderer, cells)
    assert np.array_equal(made[plain], before) and np.array_equal(made[cells[3]], before)
    distinct = [made[c] for c in (plain, first, cells[2], second)]
    for i, one in enumerate(distinct):
        for other in distinct[i + 1 :]:
            assert np.abs(one.astype(int) - other.astype(int)).mean() > 0.5
    renderer.close()
    again = draw(DiffusersRenderer(base, SETTINGS), [plain])
    assert np.array_equal(again[plain], before)


def test_the_picture_is_the_pipelines_own(base: Any) -> None:
    import torch

    cell = Cell(PROMPTS[1], 7)
    mine = draw(DiffusersRenderer(base, SETTINGS), [cell])[cell]
    theirs = base.pipeline("t2i")(
        prompt=cell.prompt,
        negative_prompt=" ",
        true_cfg_scale=2.0,
        num_inference_steps=2,
        height=64,
        width=64,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="np",
    ).images[0]
    assert np.abs(mine.astype(int) - np.rint(theirs * 255)).max() <= 1


def test_edit_draws_from_its_reference(base: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (64, 64, 3), dtype=np.uint8) for _ in range(2)]
    wanted = replace(SETTINGS, template="edit", references=picture_sha256(pictures[:1]))
    cells = [random_lora(base, tmp_path / "a.safetensors", 1), Cell(PROMPTS[1], 2)]
    made = []
    for shown in (pictures[:1], pictures[1:]):
        renderer = DiffusersRenderer(base, wanted, shown)
        made.append(draw(renderer, cells))
        renderer.close()
    first, second = made
    for cell in cells:
        assert np.abs(first[cell].astype(int) - second[cell].astype(int)).max() > 0
    with pytest.raises(InputError, match="reference picture"):
        DiffusersRenderer(base, wanted)


def test_a_lora_of_another_model_is_refused(base: Any, tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    weights = {
        "transformer_blocks.0.attn.to_q.lora_A.weight": np.ones((4, 7), "f4"),
        "transformer_blocks.0.attn.to_q.lora_B.weight": np.ones((7, 4), "f4"),
    }
    cell = Cell(PROMPTS[0], 1, path, lora_files.save(path, weights, {}), 1.0)
    renderer = DiffusersRenderer(base, SETTINGS)
    with pytest.raises(InputError, match="does not load"):
        draw(renderer, [cell])
    plain = Cell(PROMPTS[0], 1)
    assert draw(renderer, [plain])[plain].shape == (64, 64, 3)
    good = random_lora(base, tmp_path / "good.safetensors", 3)
    assert np.any(draw(renderer, [good])[good] != draw(renderer, [plain])[plain])
    path.write_bytes(b"no safetensors")
    with pytest.raises(InputError, match="does not load"):
        draw(renderer, [replace(cell, lora_sha256="x")])


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([0.5, 1.0]), st.integers(0, 9))))
def test_every_lora_is_loaded_once(asked: list[tuple[str, float, int]]) -> None:
    cells = [Cell(f"p{seed}", seed, Path(name), name, s) for name, s, seed in asked]
    cells += [Cell("p", 1)]
    random.Random(0).shuffle(cells)
    groups = list(batches(cells, 4))
    assert Counter(c for g in groups for c in g) == Counter(cells)
    assert all(len({(c.lora_sha256, c.strength) for c in g}) == 1 and len(g) <= 4 for g in groups)
    order = [g[0].lora_sha256 for g in groups]
    assert order == sorted(order) and order[0] == ""  # each LoRA's groups stand together


def test_keys_are_content() -> None:
    cell = Cell("p", 1, Path("here/a.safetensors"), "abc", 0.8)
    assert cell.key(SETTINGS) == replace(cell, lora=Path("there/b")).key(SETTINGS)
    changes = [
        replace(cell, prompt="q").key(SETTINGS),
        replace(cell, seed=2).key(SETTINGS),
        replace(cell, lora_sha256="abd").key(SETTINGS),
        replace(cell, strength=0.9).key(SETTINGS),
        cell.key(replace(SETTINGS, steps=3)),
        cell.key(replace(SETTINGS, template="edit")),
        cell.key(replace(SETTINGS, precision="bf16")),
    ]
    assert len({cell.key(SETTINGS), *changes}) == 8
    with pytest.raises(UsageError, match=r"\(precision, steps\)"):
        other = replace(SETTINGS, steps=3, precision="bf16")
        ensure_comparable(SETTINGS.as_dict(), other.as_dict())
    assert batch_size(128, 128, "t2i") == 8 and batch_size(1024, 1024, "t2i") == 1
    assert batch_size(128, 128, "edit") == 1
    image = np.zeros((4, 4, 3), np.uint8)
    assert files.sha256_bytes(png_bytes(image, {"a": 1})) == files.sha256_bytes(
        png_bytes(image, {"a": 1})
    )
