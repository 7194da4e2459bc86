"""Questions on the prompts: asked once a picture, believed only of a model that says no too."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.chat import ChatServer, Fault
from limner import evaluation
from limner.errors import UsageError
from limner.evaluation import asking
from limner.evaluation.choices import Choices
from limner.evaluation.prompt import EvalPrompt
from limner.evaluation.testsets import WRONG, make_tests
from limner.events import Event, Notice, collect
from limner.project import Project

from .conftest import Painter


def _prompts() -> list[EvalPrompt]:
    from limner import lexicon

    places, worn = list(lexicon.settings()), list(lexicon.axis("outfit"))
    found = []
    for i in range(12):
        asked = {
            "angle": "front", "framing": "close_up", "setting": places[i], "outfit": worn[i],
            "lighting": next(iter(lexicon.axis("lighting"))),
        }  # fmt: skip
        found.append(EvalPrompt(f"e{i:02d}", f"grace_char, place {i}", asked))
    return found


PROMPTS = _prompts()
ASKED = asking.beside({p.id: p for p in PROMPTS})
RIGHT = {q.text for found in ASKED.values() for q in found if q.kind == "prompt"}


def answering(say: Callable[[str, list[str]], str]) -> ChatServer:
    """say(question, all questions of this picture) -> yes or no."""

    def answer(body: dict[str, Any]) -> str:
        text = body["messages"][0]["content"][-1]["text"]
        asked = re.findall(r"^(\d+)\. (.*)$", text, re.MULTILINE)
        return "\n".join(f"{n}: {say(q, [q for _, q in asked])}" for n, q in asked)

    return ChatServer(answer)


def honest(question: str, asked: list[str]) -> str:
    """No to the prompt beside it, no to the light, else yes."""
    mine = next(found for found in ASKED.values() if sorted(q.text for q in found) == sorted(asked))
    kind = next(q for q in mine if q.text == question)
    return "no" if kind.kind == "control" or kind.about == "lighting" else "yes"


def go(project: Project, painter: Painter, *, ask: bool = True) -> list[Event]:
    return list(
        evaluation.evaluate(
            project, prompts=PROMPTS, open_renderer=painter.open, choices=Choices(ask=ask)
        )
    )


def chats(server: ChatServer) -> int:
    return sum(path.endswith("completions") for path, _, _ in server.requests)


def row_of(data: dict[str, Any]) -> dict[str, Any]:
    return next(r for r in data["measures"] if r["key"] == "follows_questions")


def test_every_prompt_has_four_to_six_questions_and_a_control() -> None:
    tests = make_tests(["guide", "far"], trigger="grace_char", class_word="woman")
    prompts = {p.id: p for p in [*PROMPTS, *tests.prompts()]}
    for key, found in asking.beside(prompts).items():
        kinds = [q.kind for q in found]
        assert 4 <= kinds.count("prompt") <= 6 and kinds.count("control") == 2, key
        mine = {q.text for q in found if q.kind == "prompt"}
        assert not mine & {q.text for q in found if q.kind == "control"}
    own = EvalPrompt("own_001", "grace_char, in a white spacesuit, at night, smiling")
    asked = asking.questions_for(own, [])
    assert sum(q.kind == "prompt" for q in asked) == 3
    assert WRONG[0] not in {q.text for q in asked}  # a spacesuit is no control for a spacesuit


def test_pictures_are_asked_about_once_and_the_verdict_says_what_came(
    project: Project, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(project, painter, ask=False)
    data = collect(evaluation.verdict(project))
    assert row_of(data)["value"] is None and row_of(data)["reason"].startswith("no endpoint")
    missing = {m["what"]: m["reason"] for m in data["not_measured"]}
    assert "no endpoint" in missing["prompt adherence"] and data["questions"] == []
    with answering(honest) as server:
        monkeypatch.setenv("LIMNER_LLM_URL", server.url)
        drawn = len(painter.cells)
        go(project, painter)
        assert len(painter.cells) == drawn  # the finished grid is asked about, not drawn again
        assert chats(server) == 2 * 2 * 8  # winner and base, two seeds of eight prompts
        go(project, painter)
        assert chats(server) == 32
    data = collect(evaluation.verdict(project))
    row = row_of(data)
    assert row["value"] == pytest.approx(0.8) and row["n"] == 16
    assert "tiny-vl" in row["note"] and "0 %" in row["note"] and "base model 0.80" in row["note"]
    assert "prompt adherence" not in {m["what"] for m in data["not_measured"]}
    assert {tuple(q["missed"]) for q in data["questions"]} == {("lighting",)}
    assert (project.root / "renders" / "grid_1" / "questions.json").is_file()


@pytest.mark.parametrize("share", ["always", "half"])
def test_a_model_that_agrees_with_wrong_prompts_is_not_believed(
    project: Project, painter: Painter, monkeypatch: pytest.MonkeyPatch, share: str
) -> None:
    def agrees(question: str, asked: list[str]) -> str:
        if share == "always":
            return "yes"
        found = ASKED[next(k for k, f in ASKED.items() if {q.text for q in f} == set(asked))]
        return "no" if question == next(q.text for q in found if q.kind == "control") else "yes"

    with answering(agrees) as server:
        monkeypatch.setenv("LIMNER_LLM_URL", server.url)
        go(project, painter)
    row = row_of(collect(evaluation.verdict(project)))
    assert row["value"] is None and "wrong prompt" in row["reason"]


def test_a_dead_endpoint_is_left_alone_and_asked_again_later(
    project: Project, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LIMNER_LLM_URL", raising=False)
    with pytest.raises(UsageError, match="endpoint"):
        go(project, painter)
    assert painter.cells == []  # said before anything is drawn
    with answering(honest) as server:
        monkeypatch.setenv("LIMNER_LLM_URL", server.url)
        monkeypatch.setenv("LIMNER_LLM_MODEL", "tiny-vl")
        server.faults = [Fault(400, "this model takes no pictures") for _ in range(asking.FAULTS)]
        events = go(project, painter)
        assert any("left alone" in e.text for e in events if isinstance(e, Notice))
        assert chats(server) == asking.FAULTS
        row = row_of(collect(evaluation.verdict(project)))
        assert row["value"] is None and "no pictures" in row["reason"]
        go(project, painter)
        assert chats(server) == asking.FAULTS + 32


def test_nonsense_is_no_answer_and_is_not_paid_for_twice(
    project: Project, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ChatServer(lambda body: "A lovely picture!") as server:
        monkeypatch.setenv("LIMNER_LLM_URL", server.url)
        go(project, painter)
        go(project, painter)
        assert chats(server) == 32
    assert "neither yes nor no" in row_of(collect(evaluation.verdict(project)))["reason"]


def _ask_and_die(root: Path, painter: Painter, after: int) -> None:
    put = asking.scores
    count = iter(range(1000))

    def killed(*given: Any) -> Any:
        if next(count) == after:
            os.kill(os.getpid(), signal.SIGKILL)  # answered, and its score not yet written
        return put(*given)

    asking.scores = killed
    go(Project.open(root), painter)


def test_kill_9_asks_nothing_twice(
    project: Project, painter: Painter, monkeypatch: pytest.MonkeyPatch
) -> None:
    go(project, painter, ask=False)
    with answering(honest) as server:
        monkeypatch.setenv("LIMNER_LLM_URL", server.url)
        project.store.close()
        child = multiprocessing.get_context("fork").Process(
            target=_ask_and_die, args=(project.root, painter, 5)
        )
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL and chats(server) == 6
        again = Project.open(project.root)
        go(again, painter)
        assert chats(server) == 32
    assert row_of(collect(evaluation.verdict(again)))["n"] == 16
