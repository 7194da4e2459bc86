"""`generate --with comfyui`: the official graph or the user's own, killed, restarted, refused."""

from __future__ import annotations

import json
import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from runner import Runner

from fakes.comfy import FakeComfy
from limner import comfy
from limner.errors import InputError, UsageError
from limner.events import Notice, collect
from limner.project import Project
from limner.project.files import sha256_file
from limner.sources import LaterError, generate

FAST = {
    **{"poll_first_s": 0.01, "poll_longest_s": 0.02, "first_wait_s": 0.001},
    **{"lost_s": 0.05, "restart_s": 3.0},
}
SMALL = {
    "source__limits": FAST,
    "source__comfyui__unet": "unet.safetensors",
    "source__comfyui__clip": "clip.safetensors",
    "source__comfyui__vae": "vae.safetensors",
    "source__comfyui__width": 64,
    "source__comfyui__height": 64,
}
SHOTS = 8
Grace = Callable[..., Project]


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeComfy]:
    with FakeComfy(tmp_path / "comfy") as found:
        yield found


@pytest.fixture
def face(tmp_path: Path) -> Path:
    path = tmp_path / "face.jpg"
    Image.radial_gradient("L").convert("RGB").save(path)
    return path


def make(project: Project, fake: FakeComfy, **more: Any) -> Any:
    return collect(generate(project, name="comfyui", base_url=fake.url, **more))


def test_every_shot_gets_its_picture_from_one_reference(
    fake: FakeComfy, grace: Grace, face: Path
) -> None:
    project = grace(**SMALL)
    found = make(project, fake, references=[face], limit=3)
    assert found["made"] == 3 and "cost" not in found
    for take, shot in zip(project.store.takes(), project.store.shots(), strict=False):
        order = take.request["order"]
        assert order["graph"]["111"]["inputs"]["prompt"] == shot.prompt
        assert order["graph"]["3"]["inputs"]["seed"] == take.seed == shot.seed
        assert order["prompt_id"] == take.labels["prompt_id"] in fake.sent
        assert sha256_file(project.path(take.path or "")) == take.sha256
        assert take.labels["references"] and take.labels["graph_checked"]
        assert take.labels["files"]["unet_name"] == "unet.safetensors"
        assert take.labels["comfyui"] == "0.3.75" and "too_small" not in take.labels
    assert len(list((fake.folder / "input").rglob("*.*"))) == 1
    first = project.store.takes()[0]
    project.store.decide(first.id, "reject", ["blurred"], "person")
    assert make(project, fake, references=[face], limit=1)["made"] == 1
    again = project.store.takes(shot_id=first.shot_id)[1]
    assert again.seed != first.seed and again.sha256 != first.sha256


def test_before_anything_is_written_the_server_is_asked(
    fake: FakeComfy, grace: Grace, face: Path, tmp_path: Path
) -> None:
    project = grace(**SMALL)
    with pytest.raises(InputError, match=r"no file 'nothing.safetensors'"):
        make(grace("other", **{**SMALL, "source__comfyui__vae": "nothing.safetensors"}), fake)
    fake.lacks = ("TextEncodeQwenImageEditPlus",)
    with pytest.raises(InputError, match=r"Update ComfyUI"):
        make(project, fake)
    with pytest.raises(InputError, match=r"reference picture cannot be read"):
        make(project, fake, references=[tmp_path / "nowhere.png"])
    with pytest.raises(InputError, match=r"4 reference pictures"):
        make(project, fake, references=[face] * 4)
    with pytest.raises(UsageError, match=r"--model means nothing to the source comfyui"):
        make(project, fake, model="x")
    with pytest.raises(UsageError, match=r"--with comfyui, --with diffusers"):
        collect(generate(project, name="atelier", references=[face]))
    fake.stop()
    stopped = grace("stopped", **{**SMALL, "source__limits": {**FAST, "attempts": 1}})
    with pytest.raises(LaterError, match=r"Is ComfyUI running"):
        make(stopped, fake)
    assert not project.store.takes() and not stopped.store.takes() and not fake.sent
    fake.start()
    fake.lacks = ()
    events = list(generate(project, name="comfyui", base_url=fake.url, dry_run=True))
    said = [e.text for e in events if isinstance(e, Notice)]
    assert any("every picture shows another person" in text for text in said)


def test_a_users_own_workflow(fake: FakeComfy, grace: Grace, face: Path, tmp_path: Path) -> None:
    files = comfy.ModelFiles("unet.safetensors", "clip.safetensors", "vae.safetensors")
    graph = comfy.qwen_edit(
        files, comfy.Sampling(steps=4), prompt="", seed=5, width=64, height=64, references=["x.png"]
    )
    graph["111"]["inputs"]["prompt"] = "photo, {{prompt}}, film grain"
    graph["78"]["_meta"] = {"title": "limner:reference"}
    graph["112"]["_meta"] = {"title": "canvas limner:size"}
    path = tmp_path / "own.json"
    path.write_text(json.dumps(graph))
    project = grace(**{**SMALL, "source__comfyui__width": 128})
    events = list(
        generate(
            project,
            name="comfyui",
            base_url=fake.url,
            workflow=path,
            references=[face],
            limit=2,
        )
    )
    told = [e.text for e in events if isinstance(e, Notice)]
    assert "The seed goes to node 3 (KSampler), the only one there is." in told
    take = project.store.takes()[0]
    assert (take.width, take.height) == (128, 64)
    sent = take.request["order"]["graph"]
    shot = project.store.shots()[0]
    assert sent["111"]["inputs"]["prompt"] == f"photo, {shot.prompt}, film grain"
    assert sent["3"]["inputs"]["seed"] == take.seed
    assert sent["78"]["inputs"]["image"].startswith("limner/")
    assert take.labels["workflow_sha256"]
    with pytest.raises(InputError, match=r"reference1.*--reference"):
        make(project, fake, workflow=path)
    with pytest.raises(InputError, match=r"marks 1 reference pictures, and 2"):
        make(project, fake, workflow=path, references=[face, face])


def test_a_failed_picture_fails_its_take_and_says_why(fake: FakeComfy, grace: Grace) -> None:
    project = grace(**SMALL)
    text = project.store.shots()[1].prompt
    fake.fails = {json.dumps(text)[1:-1]: "Sizes of tensors must match"}
    assert make(project, fake) | {"takes": 0} == {
        **{"made": SHOTS - 1, "failed": 1, "resumed": 0, "later": 0, "open": 1, "takes": 0}
    }
    failed = project.store.takes(state="failed")[0]
    assert "node 3 (KSampler): RuntimeError Sizes of tensors" in (failed.error or "")
    fake.fails = {}
    assert make(project, fake)["made"] == 1


def test_a_restart_of_the_server_in_the_middle(fake: FakeComfy, grace: Grace) -> None:
    project = grace(**SMALL)

    def restart() -> None:
        while len(fake.sent) < 3:
            time.sleep(0.005)
        fake.restart(0.3)

    fake.work_s = 0.05
    threading.Thread(target=restart, daemon=True).start()
    assert make(project, fake)["made"] == SHOTS
    assert len({t.sha256 for t in project.store.takes(state="done")}) == SHOTS
    assert len(fake.sent) <= SHOTS + 2  # two were under way


@pytest.fixture
def runner(keys: None) -> Iterator[Runner]:
    found = Runner()
    yield found
    found.close()


def killed(runner: Runner, fake: FakeComfy, project: Project, kills: int, seed: int) -> int:
    """Generate, killed so often at random moments, then in peace; how often it died."""
    dice, root, died = random.Random(seed), project.root, 0
    begun, fatal = 0, (0, "")
    unjournaled: list[str] = []

    def kill(number: int, moment: str) -> None:
        if moment == "before" and fake.requests[number - 1][1] == "/prompt":
            own = json.loads(fake.requests[number - 1][3])["prompt_id"]
            with sqlite3.connect(f"file:{root}/limner.db?mode=ro", uri=True) as db:
                path = "$.order.prompt_id"
                sql = f"SELECT count(*) FROM takes WHERE json_extract(request, '{path}') = ?"
                if db.execute(sql, [own]).fetchone() != (1,):
                    unjournaled.append(own)
        if (number - begun, moment) == fatal:
            runner.kill()

    fake.before, fake.after = (lambda n: kill(n, "before")), (lambda n: kill(n, "after"))
    done = False
    while died < kills and not done:
        begun = len(fake.requests)
        between = dice.random() < 0.3  # two writes of the journal or of a file
        fatal = (0, "") if between else (dice.randint(1, 60), dice.choice(("before", "after")))
        die_at = dice.randint(5, 60) if between else 0
        said = runner.run(root, fake.url, die_at=die_at, source="comfyui")
        assert said["signal"] in (0, signal.SIGKILL) and not said["error"], said
        done = said["signal"] == 0
        died += not done
    fatal = (0, "")
    assert runner.run(root, fake.url, source="comfyui") == {"signal": 0, "error": ""}
    assert not unjournaled, "a job was sent before it was journaled"
    takes = project.store.takes()
    assert [t.state for t in takes] == ["done"] * SHOTS
    assert len({t.shot_id for t in takes}) == len({t.sha256 for t in takes}) == SHOTS
    assert len(fake.sent) == len(fake.drawn) == SHOTS, "a picture was asked for twice"
    return died


def test_a_killed_run_asks_for_no_picture_twice(
    runner: Runner, fake: FakeComfy, grace: Grace
) -> None:
    assert killed(runner, fake, grace(**SMALL), kills=2, seed=3) == 2


@pytest.mark.long
@pytest.mark.parametrize("seed", range(10))
def test_many_kills_ask_for_no_picture_twice(
    runner: Runner, fake: FakeComfy, grace: Grace, seed: int
) -> None:
    killed(runner, fake, grace(**SMALL), kills=8, seed=seed)
