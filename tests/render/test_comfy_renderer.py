"""A grid drawn by ComfyUI: LoRAs under names of their content, and none that does nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes.comfy import FakeComfy
from limner.errors import InputError, UsageError, WorkFailedError
from limner.models import lora as lora_files
from limner.models import tensorfile
from limner.project.settings import ComfySettings
from limner.render import (
    Cell,
    ComfyRendering,
    Settings,
    comfy_rendering,
    ensure_comparable,
    picture_sha256,
)

FAST = {"poll_first_s": 0.01, "poll_longest_s": 0.02, "first_wait_s": 0.001, "lost_s": 0.05}
LIKE = Settings("f" * 64, "t2i", 64, 64, 4, 4.0, "fp32")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeComfy]:
    with FakeComfy(tmp_path / "comfy") as found:
        yield found


def rendering(fake: FakeComfy, **more: Any) -> ComfyRendering:
    files = {"unet": "unet.safetensors", "clip": "clip.safetensors", "vae": "vae.safetensors"}
    own = {"lora_folder": str(fake.folder / "models/loras")}
    return comfy_rendering(ComfySettings(**{**files, **own, **more}), url=fake.url, limits=FAST)


def lora(path: Path, seed: int) -> Cell:
    rng = np.random.default_rng(seed)
    module = "transformer_blocks.0.attn.to_q"
    weights = {
        f"{module}.lora_A.weight": rng.normal(0, 1, (4, 8)).astype("f4"),
        f"{module}.lora_B.weight": rng.normal(0, 1, (8, 4)).astype("f4"),
    }
    return Cell("a portrait", 1, path, lora_files.save(path, weights, {}), 1.0)


def draw(made: ComfyRendering, cells: list[Cell], like: Settings = LIKE) -> dict[Cell, Any]:
    renderer = made.open(made.settings(like))
    try:
        return dict(renderer.pictures(cells))
    finally:
        renderer.close()


def test_loras_are_placed_by_content_and_their_pictures_differ(
    fake: FakeComfy, tmp_path: Path
) -> None:
    plain = Cell("a portrait", 1)
    first, second = lora(tmp_path / "a.safetensors", 1), lora(tmp_path / "b.safetensors", 2)
    cells = [first, plain, replace(first, strength=0.5), replace(first, strength=0.0), second]
    made = draw(rendering(fake), cells)
    assert made[plain].shape == (64, 64, 3) and made[plain].dtype == np.uint8
    assert np.array_equal(made[plain], made[cells[3]])
    assert len({picture_sha256([p])[0] for p in made.values()}) == 4
    names = [p.name for p in (fake.folder / "models/loras").iterdir()]
    assert f"limner_a_{first.lora_sha256[:16]}.safetensors" in names and len(names) == 2
    # trap 3: other content in the same file name is another name there, so the old one never shows
    again = lora(tmp_path / "a.safetensors", 3)
    assert np.any(draw(rendering(fake), [again])[again] != made[first])
    sent = [n["lora_name"] for job in fake.drawn for n in _loaders(job)]
    assert len(set(sent)) == 3


def _loaders(facts: str) -> list[Any]:
    import json

    return [i for kind, i in json.loads(facts).values() if kind == "LoraLoaderModelOnly"]


def test_traps_1_and_2_a_lora_without_effect_is_an_error(
    fake: FakeComfy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "raw.safetensors"
    keys = {
        f"base_model.model.transformer_blocks.0.attn.to_q.lora_{p}.weight": tensorfile.encode(
            np.ones(shape, "f4"), "F32"
        )
        for p, shape in (("A", (4, 8)), ("B", (8, 4)))
    }
    tensorfile.write(path, keys, {})
    cell = Cell("a portrait", 1, path, "c" * 64, 1.0)
    with pytest.raises(InputError, match=r"would not load this LoRA as it is"):
        draw(rendering(fake), [cell])
    assert not fake.sent
    # what the file's check does not see is seen in the picture
    monkeypatch.setattr("limner.render.comfyui._lint", lambda path: None)
    with pytest.raises(WorkFailedError, match=r"no effect at strength 1.*lora key not loaded"):
        draw(rendering(fake), [cell])
    zero = Cell("a portrait", 1, path, "c" * 64, 0.0)
    assert draw(rendering(fake), [zero])[zero].shape == (64, 64, 3)


def test_a_server_with_other_files_is_another_grid(fake: FakeComfy, tmp_path: Path) -> None:
    one = rendering(fake).settings(LIKE)
    assert one.as_dict()["more"]["shift"] == 3.0 and one.as_dict()["more"]["comfyui"] == "0.3.75"
    assert "more" not in LIKE.as_dict() and one.renderer != LIKE.renderer
    other = rendering(fake, unet="other.safetensors", shift=1.15).settings(LIKE)
    cell = Cell("a", 1)
    assert len({cell.key(s) for s in (LIKE, one, other)}) == 3
    with pytest.raises(UsageError, match=r"\(base, more"):
        ensure_comparable(one.as_dict(), other.as_dict())
    with pytest.raises(InputError, match=r"no file 'none.safetensors'"):
        rendering(fake, clip="none.safetensors")


def test_references_and_a_lora_that_someone_else_must_copy(fake: FakeComfy, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    shown = [rng.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in range(2)]
    like = replace(LIKE, template="edit", references=picture_sha256(shown))
    made = rendering(fake, lora_folder="")
    pictures = []
    for references in (shown, shown[:1]):
        renderer = made.open(made.settings(like), references)
        pictures += [picture for _, picture in renderer.pictures([Cell("a", 1)])]
        renderer.close()
    assert np.any(pictures[0] != pictures[1])
    cell = lora(tmp_path / "a.safetensors", 1)
    name = f"limner_a_{cell.lora_sha256[:16]}.safetensors"
    renderer = made.open(made.settings(LIKE))
    next(renderer.pictures([Cell("looked at and left", n) for n in range(3)]))
    with pytest.raises(InputError, match=rf"does not see the LoRA {name}"):
        dict(renderer.pictures([cell]))
    assert len(dict(renderer.pictures([Cell("come again", 1)]))) == 1
    renderer.close()
    fake.separator = "\\"
    there = fake.folder / "models/loras/mine" / name
    there.parent.mkdir()
    there.write_bytes((tmp_path / "a.safetensors").read_bytes())
    assert draw(made, [cell])[cell].shape == (64, 64, 3)
    (fake.folder / "models/loras" / name).write_bytes(b"something else")
    with pytest.raises(InputError, match=r"Another file stands under the name"):
        draw(rendering(fake), [cell])
