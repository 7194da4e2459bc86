"""Rewriting by a model: what keeps the picture is taken, everything else keeps our own text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fakes.chat import ChatServer, Fault
from limner.cli.shell import run
from limner.events import collect
from limner.llm import Client, Endpoint
from limner.project import Project
from limner.shots import plan
from limner.shots.rewriting import rewrite


@pytest.fixture
def project(tmp_path: Path) -> Project:
    made = Project.create(
        tmp_path / "g", name="G", trigger="g_char", class_word="woman", likeness="synthetic"
    )
    made.change_character(shots__count=8)
    collect(plan(made))
    return made


def turned(body: dict[str, Any]) -> str:
    """An honest rewriting: the same clauses in another order."""
    clauses = body["messages"][-1]["content"].split(", ")
    return f'Prompt: "{", ".join([*clauses[2:], *clauses[:2]])}."'


def test_good_rewritings_are_taken_and_bad_ones_say_why(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shots = project.store.shots()
    bad = {
        shots[1].prompt: lambda t: t.replace("g_char", "g_char with long auburn hair", 1),
        shots[2].prompt: lambda t: t.replace("g_char", "she"),
        shots[3].prompt: lambda t: "g_char in the sun",
        shots[4].prompt: lambda t: t + ", full body shot, close-up portrait",
    }

    def answer(body: dict[str, Any]) -> str:
        text = body["messages"][-1]["content"]
        return bad[text](text) if text in bad else turned(body)

    monkeypatch.setenv("LIMNER_LLM_KEY", "sk-secret-123456")
    monkeypatch.chdir(project.root)
    with ChatServer(answer, key="sk-secret-123456") as server:
        args = ["shots", "rewrite", "--url", server.url, "--model", "tiny-vl", "--json"]
        assert run(args) == 1
        sent = server.requests[0][2]["messages"]
        told = json.loads(capsys.readouterr().out)
        assert run(args) == 2 and len(server.requests) == 8  # nothing is asked twice
    assert "g_char exactly once" in sent[0]["content"] and sent[1]["content"] == shots[0].prompt
    assert told["asked"] == 8 and told["rewritten"] == 4
    why = {row["shot"]: " ".join(row["refused"]) for row in told["kept"]}
    assert "constant (hair" in why["shot_002"] and "0 times" in why["shot_003"]
    assert "outfit" in why["shot_004"] and "words" in why["shot_004"]
    assert "framing" in why["shot_005"]
    now = {s.id: s.prompt for s in project.store.shots()}
    for shot in shots:
        assert (now[shot.id] == shot.prompt) == (shot.id in why)
    assert now["shot_001"] in (project.root / "shots" / "prompts.txt").read_text()
    everything = b"".join(p.read_bytes() for p in project.root.rglob("*") if p.is_file())
    assert b"sk-secret" not in everything


def test_an_endpoint_that_fails_leaves_the_prompts_as_they_are(project: Project) -> None:
    shots = project.store.shots()
    with ChatServer(turned, faults=[Fault(500)] * 3) as server:
        limits = {"attempts": 1, "first_wait_s": 0.01}
        with Client(Endpoint(server.url, "tiny-vl"), limits) as client:
            rows = collect(rewrite(shots, client, name="g_char", class_word="woman"))
        assert len(server.requests) == 3  # then it is not asked any more
    assert [r.text for r in rows] == [s.prompt for s in shots]
    assert all(r.refused and not r.changed for r in rows)


def test_words_of_prompts_that_are_not_asked_again_are_taken_too(project: Project) -> None:
    """A rewording that borrows six words in a row; how many prompts may share them is the
    project's own rule."""
    one = project.store.shots()[0]
    said = ", ".join(reversed(one.prompt.split(", ")))
    words = " ".join(said.split()[3:10])
    with ChatServer(lambda body: said) as server, Client(Endpoint(server.url, "tiny-vl")) as client:
        for beside, own, changed in (
            ([], None, True),
            ([f"Look: {words}, she says"], None, False),
            ([f"Look: {words}, she says"], {"shared_run": 20}, True),
            ([words] * 2, {"shared_run_up_to": 1}, True),  # three may
            ([words] * 3, {"shared_run_up_to": 1}, False),
        ):
            (row,) = collect(
                rewrite(
                    [one], client, name="g_char", class_word="woman", beside=beside, thresholds=own
                )
            )
            assert row.changed == changed, (beside, own, row.refused)
            assert changed or "other prompt" in row.refused[0]
