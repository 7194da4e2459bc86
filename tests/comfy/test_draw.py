"""Drawing on a ComfyUI that deceives: each silent trap of the server is an error or is mended."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fakes.comfy import FakeComfy, Fault
from limner import comfy
from limner.comfy import ModelFiles, Sampling, Server
from limner.comfy.drawing import differences, successor
from limner.errors import InputError, UsageError, WorkFailedError

FAST = {
    **{"poll_first_s": 0.01, "poll_longest_s": 0.02, "first_wait_s": 0.001},
    **{"lost_s": 0.05, "restart_s": 5.0},
}
FILES = ModelFiles("unet.safetensors", "clip.safetensors", "vae.safetensors")


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeComfy]:
    with FakeComfy(tmp_path / "comfy") as found:
        yield found


@pytest.fixture
def server(fake: FakeComfy) -> Iterator[Server]:
    found = comfy.connect(fake.url, limits=FAST)
    yield found
    found.close()


def graph(prompt: str = "a portrait", seed: int = 1, **more: Any) -> comfy.Graph:
    size = {"width": 64, "height": 48}
    return comfy.qwen_edit(FILES, Sampling(steps=4), prompt=prompt, seed=seed, **{**size, **more})


def draw(server: Server, asked: comfy.Graph, prompt_id: str = "", known: bool = False) -> Any:
    return comfy.draw(server, asked, prompt_id or comfy.new_id(), comfy.SAVE, known=known)[0]


@pytest.mark.parametrize("dialect", ["0.3.64", "0.3.75", "0.38"])
def test_a_picture_is_drawn_and_carries_what_was_asked(fake: FakeComfy, dialect: str) -> None:
    fake.dialect = dialect
    fake.gap_s = 0.015  # done, but not yet in the history
    server = comfy.connect(fake.url, limits=FAST)
    assert server.stats().comfyui == dialect
    name = server.upload("a.png", _png((9, 9)))
    asked = graph(references=[name], seed=7)
    assert comfy.check(server, asked) == asked
    made = draw(server, asked)
    with Image.open(io.BytesIO(made.data)) as picture:
        assert picture.size == (64, 48)
    assert made.graph_checked and draw(server, graph(seed=8)).data != made.data
    assert len(fake.sent) == len(set(fake.sent)) == 2
    bodies = [json.loads(raw) for _, path, _, raw in fake.requests if path == "/prompt"]
    assert all(body["client_id"] == server.client_id for body in bodies)
    server.close()


def test_a_graph_has_zero_to_three_references_and_loras() -> None:
    plain = graph()
    assert "LoadImage" not in {n["class_type"] for n in plain.values()}
    assert plain["66"]["inputs"] == {"model": ["37", 0], "shift": 3.0}
    three = graph(
        references=["a", "b", "c"], size_of_reference=True, loras=[("x", 0.8), ("y", 0.0)]
    )
    for encoder in ("110", "111"):
        links = {k: v for k, v in three[encoder]["inputs"].items() if k.startswith("image")}
        assert list(links) == ["image1", "image2", "image3"]
        assert [
            three[three[v[0]]["inputs"]["image"][0]]["inputs"]["image"] for v in links.values()
        ] == [*"abc"]
    assert three["3"]["inputs"]["latent_image"] == ["88", 0]
    assert three["66"]["inputs"]["model"] == ["89", 0] and "891" not in three  # strength 0: no node
    both = graph(loras=[("x", 0.8), ("y", 0.5)])
    assert both["891"]["inputs"]["model"] == ["89", 0] == both["891"]["inputs"]["model"]
    t2i = graph(template="t2i")
    assert t2i["111"] == {
        "class_type": "CLIPTextEncode",
        "inputs": {"clip": ["38", 0], "text": "a portrait"},
    }
    with pytest.raises(InputError, match="3 at most"):
        graph(references=["a"] * 4)
    with pytest.raises(InputError, match="multiples of 16"):
        graph(width=100)
    with pytest.raises(InputError, match="no reference"):
        graph(template="t2i", references=["a"])


def test_trap_4_a_bad_branch_beside_a_good_one_is_refused(fake: FakeComfy, server: Server) -> None:
    fake.work_s = 5
    asked = graph()
    asked["61"] = {
        "class_type": "SaveImage",
        "inputs": {"images": ["nowhere", 0], "filename_prefix": "x"},
    }
    with pytest.raises(WorkFailedError, match=r"node 61 .SaveImage.: Exception when validating"):
        draw(server, asked)
    assert fake.dropped == fake.sent and not fake.drawn  # nothing is left running


def test_trap_5_success_without_pictures_is_no_success(fake: FakeComfy, server: Server) -> None:
    asked = graph()
    del asked["60"]["inputs"]["filename_prefix"]
    asked["60"]["class_type"] = "PreviewImage"
    draw(server, asked)
    server.send(asked, "again")  # all cached, but with our client id: the server names the file
    assert draw(server, asked).data
    assert len(fake.drawn) == 1
    server.client_id = None  # type: ignore[assignment]
    with pytest.raises(WorkFailedError, match="success and names no picture"):
        draw(server, asked)


def test_trap_6_an_equal_graph_still_gives_a_file_of_its_own(
    fake: FakeComfy, server: Server
) -> None:
    first, second = draw(server, graph()), draw(server, graph())
    assert first.filename != second.filename and len(fake.drawn) == 1
    assert (
        Image.open(io.BytesIO(first.data)).tobytes()
        == Image.open(io.BytesIO(second.data)).tobytes()
    )
    # the file of a finished job is deleted on the server: drawn again under the next id
    prompt_id = comfy.new_id()
    made = draw(server, graph(seed=2), prompt_id)
    for file in (fake.folder / "output" / "limner").glob(f"{prompt_id}*"):
        file.unlink()
    again = draw(server, graph(seed=2), prompt_id, known=True)
    assert again.prompt_id == successor(prompt_id, 1) != made.prompt_id
    assert len(fake.drawn) == 2  # the sampler's result was still cached


def test_trap_6_a_file_that_shows_something_else_is_refused(
    fake: FakeComfy, server: Server
) -> None:
    prompt_id = comfy.new_id()
    draw(server, graph(seed=3), prompt_id)
    other = draw(server, graph(seed=4))
    for file in (fake.folder / "output" / "limner").glob(f"{prompt_id}*"):
        file.write_bytes(other.data)
    with pytest.raises(WorkFailedError, match=r"another picture than was asked for \(3.seed"):
        draw(server, graph(seed=3), prompt_id, known=True)


def test_graphs_are_compared_by_what_they_mean() -> None:
    asked = {"1": {"class_type": "A", "inputs": {"a": "7", "b": 1.0, "c": "x", "d": ["2", 0]}}}
    drawn = {"1": {"class_type": "A", "inputs": {"a": 7, "b": 1, "c": "x", "more": 5}}}
    assert not differences(asked, drawn)  # the server makes numbers of texts, and adds its own
    drawn["1"]["inputs"].update(a=8, c="y")  # type: ignore[attr-defined]
    assert differences(asked, drawn) == ["1.a", "1.c"]
    assert differences(asked, {}) == ["1"]


def test_trap_7_a_restart_in_the_middle_is_gone_through(fake: FakeComfy, server: Server) -> None:
    fake.work_s = 0.3
    prompt_id = comfy.new_id()
    threading.Timer(0.1, fake.restart, kwargs={"down_s": 0.2}).start()
    made = draw(server, graph(), prompt_id)
    assert fake.sent == [prompt_id, successor(prompt_id, 1)] == [prompt_id, made.prompt_id]
    assert len(fake.drawn) == 1


def test_trap_7_a_deleted_job_is_sent_again_and_not_forever(
    fake: FakeComfy, server: Server
) -> None:
    fake.work_s = 30
    draw_later = threading.Thread(target=lambda: server.send(graph(seed=9), comfy.new_id()))
    draw_later.start()
    draw_later.join()

    given_up = threading.Event()

    def delete() -> None:
        while not given_up.wait(0.005):
            for job in list(fake.pending):
                server.link.json("POST", "queue", {"delete": [job.id]})

    threading.Thread(target=delete, daemon=True).start()
    prompt_id = comfy.new_id()
    with pytest.raises(comfy.NotYetError, match="lost this picture 3 times"):
        draw(server, graph(), prompt_id)
    given_up.set()
    assert fake.sent[1:] == [successor(prompt_id, n) for n in range(3)]


@pytest.mark.parametrize("after", [True, False])
@pytest.mark.parametrize("ignores_ids", [True, False])
def test_a_lost_answer_does_not_send_twice(
    fake: FakeComfy, server: Server, after: bool, ignores_ids: bool
) -> None:
    fake.ignores_ids = ignores_ids  # older servers choose the id themselves
    fake.faults.append(Fault("POST /prompt", after=after))
    assert draw(server, graph()).data
    assert len(fake.sent) == len(fake.drawn) == 1


def test_a_known_job_is_found_wherever_it_stands(fake: FakeComfy, server: Server) -> None:
    for ignores in (False, True):
        fake.ignores_ids = ignores
        own = comfy.new_id()
        seed = 1 + ignores
        sent = graph(seed=seed, prefix=f"limner/{own}")
        server.send(sent, own)
        assert draw(server, graph(seed=seed), own, known=True).data
        assert draw(server, graph(seed=seed), own, known=True).data
    assert len(fake.sent) == 2 and len(fake.drawn) == 2
    assert draw(server, graph(seed=3), comfy.new_id(), known=True).data  # never sent: sent now


def test_a_server_that_stays_away_is_waited_for_and_then_left(tmp_path: Path) -> None:
    with FakeComfy(tmp_path) as fake:
        server = comfy.connect(fake.url, limits={**FAST, "restart_s": 0.2, "attempts": 1})
    with pytest.raises(comfy.NotYetError, match="cannot be reached") as caught:
        draw(server, graph())
    assert caught.value.down and "Is ComfyUI running" in str(caught.value)


def test_interrupt_and_failure_are_told_apart(fake: FakeComfy, server: Server) -> None:
    fake.fails = {"too big": "Allocation on device: out of memory", "odd": "mat1 and mat2"}
    with pytest.raises(
        WorkFailedError, match=r"node 3 \(KSampler\): RuntimeError Allocation"
    ) as big:
        draw(server, graph("too big"))
    assert "Free memory" in str(big.value)
    with pytest.raises(WorkFailedError, match=r"mat1 and mat2$|its log says more"):
        draw(server, graph("odd"))
    fake.work_s = 5
    own = comfy.new_id()

    def interrupt() -> None:
        while fake.running is None or fake.running.id != own:
            time.sleep(0.005)
        server.link.json("POST", "interrupt", {"prompt_id": own})

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(WorkFailedError, match="was stopped at ComfyUI"):
        draw(server, graph(), own)


def test_refusals_say_what_is_missing(fake: FakeComfy, server: Server) -> None:
    with pytest.raises(WorkFailedError, match=r"the server has no 'clap.safetensors'; it has clip"):
        draw(server, comfy.qwen_edit(replace(FILES, clip="clap.safetensors"), Sampling(), **ASK))
    for number in range(30):
        (fake.folder / "models/loras" / f"lora_{number}.safetensors").write_bytes(b"")
    with pytest.raises(WorkFailedError, match=r"lora_name: the server has no 'x.safetensors'"):
        draw(server, graph(loras=[("x.safetensors", 1.0)]))
    for dialect in ("0.3.75", "0.38"):
        fake.dialect, fake.lacks = dialect, ("CFGNorm",)
        with pytest.raises(WorkFailedError, match=r"node CFGNorm does not exist.*Update ComfyUI"):
            draw(comfy.connect(fake.url, limits=FAST), graph())
        with pytest.raises(InputError, match="no node CFGNorm"):
            comfy.check(server, graph())
    fake.lacks = ()
    fake.faults.append(Fault("POST /prompt", 500, b"500 Internal Server Error"))
    with pytest.raises(comfy.ComfyError, match="answered 500"):
        draw(server, graph())


ASK: dict[str, Any] = {"prompt": "a", "seed": 1, "width": 64, "height": 64}


def test_names_are_spelled_as_the_server_does(fake: FakeComfy, server: Server) -> None:
    files = replace(FILES, unet="qwen/other.safetensors")
    found = comfy.check(server, comfy.qwen_edit(files, Sampling(), **ASK))
    assert found["37"]["inputs"]["unet_name"] == "qwen\\other.safetensors"
    files = replace(FILES, unet="other.safetensors")
    assert comfy.recorded(comfy.check(server, comfy.qwen_edit(files, Sampling(), **ASK))) == {
        "unet_name": "qwen\\other.safetensors",
        "clip_name": "clip.safetensors",
        "vae_name": "vae.safetensors",
    }
    with pytest.raises(InputError, match=r"no file 'unit.safetensors'; it has unet.safetensors"):
        comfy.check(
            server, comfy.qwen_edit(replace(FILES, unet="unit.safetensors"), Sampling(), **ASK)
        )


def test_another_picture_of_the_same_name_is_not_ours(fake: FakeComfy, server: Server) -> None:
    first, second = _png((9, 9), 1), _png((9, 9), 2)
    assert server.upload("a.png", first) == "limner/a.png" == server.upload("a.png", first)
    assert server.upload("a.png", second) == "limner/a (1).png"


def test_keys_go_only_where_the_person_pointed(
    fake: FakeComfy, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.key = "s3cret-token"
    with pytest.raises(comfy.ComfyError, match="COMFYUI_HEADERS"):
        comfy.connect(fake.url, limits=FAST).stats()
    monkeypatch.setenv("COMFYUI_HEADERS", "Authorization: Bearer s3cret-token")
    server = comfy.connect(fake.url, limits=FAST)
    assert server.stats().comfyui and draw(server, graph()).data
    with pytest.raises(UsageError, match=r"character.yaml only"):
        comfy.connect(configured="https://elsewhere.example")
    with pytest.raises(UsageError, match="unencrypted"):
        comfy.connect("http://elsewhere.example")
    for wrong in ("elsewhere", "ftp://a", "http://a:b@c", "http://a?b=c"):
        with pytest.raises(UsageError, match="no address"):
            comfy.connect(wrong)
    for lines in ("Authorization", "{"):
        monkeypatch.setenv("COMFYUI_HEADERS", lines)
        with pytest.raises(UsageError, match="headers cannot be read"):
            comfy.connect(fake.url)


def _png(size: tuple[int, int], color: int = 0) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (color, 0, 0)).save(out, "PNG")
    return out.getvalue()
