"""Captions by a model behind an endpoint: edited like prompts, paid for once, or a check."""

from __future__ import annotations

import io
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fakes.chat import ChatServer
from limner import lexicon
from limner.captions import check as check_captions
from limner.captions import compile as compile_captions
from limner.captions import edit
from limner.captions.captioners import CaptionerSettings, Said, captioner_prompt, open_captioner
from limner.captions.comparing import compare
from limner.captions.describing import AGREEMENT, describe, look, repeated_run
from limner.captions.reading import read
from limner.cli import shell as cli
from limner.errors import InputError, UsageError, WorkFailedError
from limner.events import collect
from limner.lexicon.constants import find_constants
from limner.project import Project
from limner.project.files import sha256_bytes
from limner.project.records import Shot

PROMPTS = (
    "grace_char wearing a red dress, full body shot on a city street, front view, genuine smile",
    "grace_char wearing a navy suit and white shirt, waist-up shot in an office, steady gaze",
    "grace_char in a green hoodie, close-up portrait in a forest, thoughtful expression",
    "grace_char wearing a yellow coat, full body shot at the beach, playful grin",
)
WORDS = {
    0: "A slim young woman with long brown hair wearing a red dress, standing on a city street, "
    "front view, smiling at the camera, soft golden hour light, 85mm bokeh.",
    1: "A woman with blue eyes in a navy suit and a white shirt. Waist-up shot in an office.",
    2: "Close-up of a woman in a green hoodie in a forest, with a thoughtful expression.",
    3: "A woman in a yellow coat, full body shot on a beach with a playful grin.",
}


def png(number: int) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (64, 48), (40 * number, 90, 200)).save(out, "PNG")
    return out.getvalue()


def make_project(root: Path) -> Project:
    """Four kept takes of brought prompts: no attributes, so plan and caption come from words."""
    made = Project.create(
        root, name="Grace", trigger="grace_char", class_word="woman", likeness="synthetic"
    )
    made.store.replace_shots(
        Shot(f"shot_{n + 1:03d}", n, {}, prompt, seed=n) for n, prompt in enumerate(PROMPTS)
    )
    for number, shot in enumerate(made.store.shots()):
        take = made.store.journal_take(shot.id, "inbox", 1, {})
        path = made.folder("takes") / f"{shot.id}_a1.png"
        path.write_bytes(png(number))
        sha = sha256_bytes(png(number))
        made.store.update_take(take.id, state="done", path=made.relative(path), sha256=sha)
        made.store.decide(take.id, "keep", [], "person")
    return made


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "grace")


def number_of(body: dict[str, Any]) -> int:
    """Which of the pictures a request is about, read off its colour."""
    part = next(p for p in body["messages"][-1]["content"] if p["type"] == "image_url")
    code = part["image_url"]["url"].partition(",")[2]
    import base64

    with Image.open(io.BytesIO(base64.b64decode(code))) as picture:
        return round(picture.convert("RGB").getpixel((5, 5))[0] / 40)  # type: ignore[index]


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer(lambda body: WORDS[number_of(body)]) as running:
        yield running


def opened(server: ChatServer, **more: Any) -> Any:
    settings = CaptionerSettings(url=server.url, **more)
    return open_captioner(settings, captioner_prompt(settings, "grace_char", "woman"))


def asked(server: ChatServer) -> list[dict[str, Any]]:
    return [body for path, _, body in server.requests if path.endswith("completions")]


def test_a_models_words_become_captions_and_nothing_is_paid_twice(
    project: Project, server: ChatServer
) -> None:
    takes = project.store.kept()
    edit(project, takes[3].id, "grace_char, my own words, in the sun, laughing aloud")
    captioner = opened(server)
    found = collect(describe(project, captioner))
    assert (found["described"], found["by_hand"], found["asked"]) == (3, 1, 3)
    captions = project.store.captions()
    assert captions[takes[0].id].text == (
        "grace_char, full body shot, wearing red dress, city street background, smiling, front "
        "view, standing, looking at camera"
    ) or captions[takes[0].id].text.startswith("grace_char, front view, wearing red dress, ")
    for take in takes[:3]:
        caption = captions[take.id]
        assert caption.author == "model" and caption.text.startswith("grace_char, ")
        assert find_constants(caption.text) == [] and caption.dropped
        assert (project.root / f"takes/{take.shot_id}_a1.txt").read_text() == caption.text
    assert {d["rule"] for d in captions[takes[0].id].dropped} >= {"identity", "light", "camera"}
    assert captions[takes[3].id].author == "person"
    again = collect(describe(project, captioner))
    assert (again["asked"], again["reused"], again["unchanged"]) == (0, 3, 3)
    assert len(asked(server)) == 3
    other = collect(describe(project, opened(server, words=60)))  # another question is a new one
    assert other["asked"] == 3
    assert "error" not in {f["severity"] for f in check_captions(project) if f["rule"] != "length"}


def test_rules_leave_a_models_captions_alone_and_read_brought_prompts(
    project: Project, server: ChatServer
) -> None:
    found = collect(compile_captions(project))  # no attributes: the prompts' own words
    takes = project.store.kept()
    captions = project.store.captions()
    assert found["compiled"] == 4 and captions[takes[0].id].text == (
        "grace_char, full body shot, wearing red dress, city street background, genuine smile, "
        "front view"
    )
    collect(describe(project, opened(server)))
    said = {t.id: project.store.captions()[t.id].text for t in takes}
    again = collect(compile_captions(project))
    assert again["compiled"] == 0 and again["by_model"] >= 3  # one says what the rule had said
    assert {t: c.text for t, c in project.store.captions().items()} == said
    over = collect(compile_captions(project, over_model=True, profile="strict"))
    assert over["compiled"] >= 3 and over["by_model"] == 0
    history = project.store.caption_history(takes[0].id)
    assert [c.author for c in history] == ["rule", "model", "rule"]


def test_a_prompt_in_a_project_takes_its_trigger_and_its_own_words(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    own = project.root / "vocabulary"
    own.mkdir()
    (own / "settings.yaml").write_text(
        "salt_flat: {phrase: salt flat, detail: a white salt flat, props: cracked crust, "
        "mix: outdoor, formality: [casual], season: any, lightings: [bright_sun]}\n"
    )
    args = ["-C", str(project.root), "captions", "compile", "a red dress, on a white salt flat"]
    try:
        assert cli.run(args) == 0
    finally:
        lexicon.learn(None)
    assert capsys.readouterr().out == "grace_char, wearing red dress, white salt flat background\n"


def test_a_request_is_shown_without_any_endpoint(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LIMNER_LLM_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY", "LIMNER_LLM_MODEL"):
        monkeypatch.delenv(name, raising=False)
    here = ["-C", str(project.root), "captions", "describe"]
    assert cli.run([*here, "--show", "--json"]) == 0
    request = json.loads(capsys.readouterr().out)["request"]
    assert "no-endpoint-is-set" in request["url"] and "grace_char" in str(request["body"])
    assert cli.run(here) == 2, "asking needs one"


def test_what_is_shown_is_what_is_sent(
    project: Project, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["-C", str(project.root), "captions", "describe"]
    assert cli.run([*here, "--init"]) == 0
    file = project.root / "captioner.yaml"
    file.write_text(f"url: {server.url}\nprompt: Say what {{name}} wears in {{words}} words.\n")
    capsys.readouterr()
    assert cli.run([*here, "--show", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["request"]["body"]
    assert asked(server) == []
    picture = project.root / "takes/shot_001_a1.png"
    assert cli.run([*here, str(picture), "--json"]) == 0
    tried = json.loads(capsys.readouterr().out)
    assert tried["said"] == WORDS[0] and tried["caption"].startswith("grace_char, ")
    sent = asked(server)[0]
    assert sent["messages"][-1]["content"][-1]["text"] == "Say what grace_char wears in 30 words."
    sent["messages"][-1]["content"][0] = shown["messages"][-1]["content"][0]  # shortened there
    assert sent == shown
    assert not project.store.captions()  # a trial on one picture records nothing
    assert cli.run(here) == 0 and len(asked(server)) == 5
    file.write_text("wordz: 3\n")
    assert cli.run(here) == 2
    file.write_text("prompt: Say {nothing}.\n")
    assert cli.run(here) == 2


def test_a_repeating_answer_is_asked_for_again_with_another_seed(project: Project) -> None:
    glitch = "a woman in a red dress on a street " * 4
    assert repeated_run(glitch) and repeated_run(WORDS[0]) is None
    answers = [glitch, WORDS[0], WORDS[1], *[glitch] * 3, WORDS[3]]
    with ChatServer(lambda body: answers.pop(0)) as server:
        found = collect(describe(project, opened(server)))
        seeds = [b["seed"] for b in asked(server)]
        answers.append(WORDS[2])  # run again: only that one is asked for, with a seed not yet tried
        again = collect(describe(project, opened(server)))
        later = [b["seed"] for b in asked(server)][len(seeds) :]
    assert seeds == [1, 2, 1, 1, 2, 3, 1]
    assert found["described"] == 3 and [f["shot"] for f in found["failed"]] == ["shot_003"]
    assert "repeats itself" in found["failed"][0]["text"]
    assert later == [4] and (again["described"], again["failed"]) == (1, [])


def test_pictures_and_plans_are_compared_and_disagreements_flagged(
    project: Project, server: ChatServer, capsys: pytest.CaptureFixture[str]
) -> None:
    before = project.store.captions()
    wrong = {**WORDS, 1: "Two women in blue dresses seen in a meadow, full body shot, laughing."}
    server.answer = lambda body: wrong[number_of(body)]
    found = collect(look(project, opened(server)))
    assert {f["shot"] for f in found["findings"]} == {"shot_002"}
    rules = {f["rule"] for f in found["findings"]}
    assert {"picture_framing", "picture_place", "picture_people"} <= rules
    takes = project.store.kept()
    values = [project.store.measures(t.id)[AGREEMENT].value for t in takes]
    assert values[0] == 1.0 and values[1] is not None and values[1] < 0.5
    assert project.store.captions() == before and len(project.store.kept()) == 4
    code = cli.run(
        ["-C", str(project.root), "captions", "describe", "--check", "--url", server.url]
    )
    assert code == 1 and "shot_002" in capsys.readouterr().out
    assert len(asked(server)) == 4  # the same question: nothing was asked again


def test_joycaption_is_asked_in_the_sentences_it_was_trained_on() -> None:
    settings = CaptionerSettings(model="fancyfeast/llama-joycaption-beta-one-hf-llava")
    text = captioner_prompt(settings, "grace_char", "woman").text
    assert text.startswith("Write a detailed description for this image in 30 words or less. ")
    assert "you must refer to them as grace_char." in text and "{" not in text
    other = captioner_prompt(CaptionerSettings(model="qwen2.5-vl"), "grace_char", "woman").text
    assert other != text and "hair colour" in other


def test_silence_is_no_disagreement() -> None:
    plan = read(PROMPTS[0], "grace_char")
    for words in ("", "A person.", "Someone stands there.", "grace_char in a crimson dress"):
        assert compare(plan, read(words, "grace_char"), words).disagreements == ()
    assert compare(plan, read("", "grace_char"), "").agreement is None


class Journaling:
    """A captioner that writes down each question in a file and dies in one of them."""

    def __init__(self, log: Path, die_at: int = -1) -> None:
        self.log, self.die_at = log, die_at
        self.identity = {"kind": "test", "model": "journaling"}

    def request(self, picture: Path) -> dict[str, Any]:
        return {"picture": picture.name}

    def caption(self, picture: Path, attempt: int = 0) -> Said:
        with self.log.open("a") as out:
            out.write(f"{picture.name}\n")
        if len(self.log.read_text().splitlines()) == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return Said(f"a person in a red dress, full body shot at the {picture.stem} beach", "test")

    def close(self) -> None:
        """Nothing to free."""


def test_a_kill_loses_at_most_the_question_under_way(tmp_path: Path) -> None:
    root, log = tmp_path / "grace", tmp_path / "asked"
    make_project(root)
    child = os.fork()
    if child == 0:
        collect(describe(Project.open(root), Journaling(log, die_at=3)))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    project = Project.open(root)
    assert len(project.store.captions()) >= 1
    found = collect(describe(project, Journaling(log)))
    assert (found["asked"], found["reused"]) == (2, 2)
    names = log.read_text().splitlines()
    assert len(names) == 5 and names.count("shot_003_a1.png") == 2
    assert len(project.store.captions()) == 4


class Broken(Journaling):
    def caption(self, picture: Path, attempt: int = 0) -> Said:
        super().caption(picture, attempt)
        raise WorkFailedError("the endpoint is gone")


def test_a_dead_endpoint_stops_the_work_instead_of_asking_for_every_picture(
    project: Project, tmp_path: Path
) -> None:
    with pytest.raises(WorkFailedError, match="gone"):
        collect(describe(project, Broken(tmp_path / "asked")))
    assert len((tmp_path / "asked").read_text().splitlines()) == 3
    assert collect(describe(project, Journaling(tmp_path / "asked")))["described"] == 4


def test_settings_that_cannot_work_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LIMNER_LLM_URL", "OPENAI_BASE_URL", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    for settings, error in (
        (CaptionerSettings(), UsageError),
        (CaptionerSettings(where="local"), InputError),
        (CaptionerSettings(where="local", model="nobody/nothing"), InputError),
        (CaptionerSettings(url="ftp://x"), InputError),
    ):
        with pytest.raises(error):
            open_captioner(settings, captioner_prompt(settings, "g_x", "woman"))
