"""Any folder of pictures is judged outside a project: page, sheet, JSON, references, endpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes.chat import ChatServer
from limner.cli.shell import run
from limner.errors import InputError, UsageError
from limner.events import collect
from limner.project import Project
from limner.review import contact_sheet, review, review_folder
from limner.review.questions import questions_for
from limner.vision.brought import open_brought
from limner.vision.questions import parse

Pictures = list[tuple[str, str, bytes]]


@pytest.fixture
def folder(tmp_path: Path, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the good pictures, planted faults, and things that are no pictures."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    here = tmp_path / "pictures"
    (here / "more").mkdir(parents=True)
    for name, _, data in pictures:
        (here / "more" / f"{name}.png").write_bytes(data)
    (here / "notes.txt").write_text("no picture", encoding="utf-8")
    return here


def test_a_folder_is_judged_and_left_alone(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(p.name for p in folder.rglob("*"))
    words = ["review", str(folder), "--kind", "drawing", "--json"]
    assert run(words) == 1  # findings
    found = json.loads(capsys.readouterr().out)
    by_name = {Path(p["file"]).stem: p for p in found["pictures"]}
    assert by_name["stranger"]["decision"] != "keep"
    assert "copy" in by_name["mirrored"]["reasons"][0]
    assert "good_2.png" in by_name["mirrored"]["reasons"][0]
    assert "blurred" in " ".join(by_name["blurred"]["reasons"])
    assert by_name["cut_off"]["decision"] == "reject"
    kept = [n for n, p in by_name.items() if p["decision"] == "keep"]
    assert {"good_0", "good_1", "good_3", "good_4"} <= set(kept)
    measures = by_name["good_0"]["measures"]
    assert measures["noise"]["value"] > 0 and measures["noise"]["unit"] == "0-255"
    assert measures["text_share"] == {
        "value": None, "unit": "share", "reason": "not asked for (--text)"
    }  # fmt: skip
    assert found["calibration"]["dlib"]["against"] == "the set itself, leave one out"
    assert found["calibration"]["odds_drawing"]["characters"] >= 4
    assert sorted(p.name for p in folder.rglob("*")) == before
    page = Path(found["page"]).read_text(encoding="utf-8")
    assert (
        page.count("<article") == len(found["pictures"]) and "http" not in page.split("</style>")[1]
    )
    assert Image.open(found["contact_sheet"]).width > 1000
    good = folder.parent / "good"
    good.mkdir()
    for name in kept:
        (good / f"{name}.png").write_bytes((folder / "more" / f"{name}.png").read_bytes())
    assert run(["review", str(good), "--kind", "drawing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reject"] == 0


def test_references_decide_where_the_set_cannot(folder: Path) -> None:
    reference, two = folder.parent / "reference", folder.parent / "two"
    reference.mkdir(), two.mkdir()
    for i in range(4):
        (reference / f"{i}.png").write_bytes((folder / "more" / f"good_{i}.png").read_bytes())
    for name in ("good_4", "stranger"):
        (two / f"{name}.png").write_bytes((folder / "more" / f"{name}.png").read_bytes())
    alone = collect(review_folder(two, kind="drawing", workers=1)).answer
    assert all(p["measures"]["identity_dlib"]["value"] is None for p in alone["pictures"])
    held = collect(review_folder(two, reference=reference, kind="drawing", workers=1)).answer
    own, other = (p["measures"]["identity_dlib"]["value"] for p in held["pictures"])
    assert own > other + 0.2 and held["pictures"][1]["decision"] != "keep"
    assert held["calibration"]["dlib"]["references"] >= 3


def test_wrong_folders_and_rules_are_said(folder: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        collect(review_folder(folder / "nowhere"))
    (folder / "empty").mkdir()
    with pytest.raises(UsageError, match="no pictures"):
        collect(review_folder(folder / "empty"))
    with pytest.raises(InputError, match="no rule"):
        collect(review_folder(folder, thresholds={"sharpnes": 1}))
    assert run(["review", "--reference", str(folder)]) == 2


def test_an_embedder_of_ones_own_counts_only_after_its_self_test(folder: Path) -> None:
    """Limner's own network in the part of a stranger's: it takes 64 px RGB faces too."""
    from limner.vision.shipped import data_file

    (folder / "net.onnx").write_bytes(data_file("drawn.onnx").read_bytes())
    card = {"name": "mine", "onnx": "net.onnx", "side": 64}
    here = folder / "mine.json"
    same, other = "more/good_0.png", "more/stranger.png"
    here.write_text(json.dumps({**card, "self_test": [same, other, same]}), encoding="utf-8")
    with pytest.raises(InputError, match="failed its self-test"):
        open_brought(here)
    here.write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(InputError, match="card of the embedder"):
        open_brought(here)
    here.write_text(json.dumps({**card, "self_test": [same, same, other]}), encoding="utf-8")
    found = collect(review_folder(folder, kind="drawing", embedders=(here,), workers=1)).answer
    measures = {Path(p["file"]).stem: p["measures"] for p in found["pictures"]}
    own, odd = (measures[n]["identity_mine"]["value"] for n in ("good_0", "stranger"))
    assert own > odd and found["calibration"]["mine"]["self_test"]["same"] > 0.99


def answers(body: dict[str, object], control: str, artefact: str) -> str:
    """A model that sees every prompt in every picture, but no other place or clothes."""
    text = body["messages"][0]["content"][-1]["text"]  # type: ignore[index]
    lines = []
    for line in str(text).splitlines()[1:]:
        number, _, question = line.partition(". ")
        hands = "hand" in question
        wrong = "WRONG" in question or any(w in question for w in answers.wrong)  # type: ignore[attr-defined]
        said = artefact if hands else control if wrong else "yes"
        lines.append(f"{number}: {said}")
    return "\n".join(lines)


def test_the_endpoint_is_asked_once_and_not_believed_when_it_always_agrees(
    measured: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = measured
    shots = project.store.shots()
    controls = {q.text for s in shots for q in questions_for(s, shots) if q.kind == "control"}
    assert controls

    def told(control: str, artefact: str) -> ChatServer:
        def answer(body: dict[str, object]) -> str:
            picture_shot = [s for s in shots if _matches(s, shots, body)]
            answers.wrong = [  # type: ignore[attr-defined]
                q.text for q in questions_for(picture_shot[0], shots) if q.kind == "control"
            ]
            return answers(body, control, artefact)

        return ChatServer(answer)

    with told("no", "no") as server:
        monkeypatch.setenv("LIMNER_LLM_URL", server.url)
        collect(review(project, ask=True))
        asked = len([1 for path, _, _ in server.requests if path.endswith("completions")])
        collect(review(project, ask=True))
        again = len([1 for path, _, _ in server.requests if path.endswith("completions")])
    take = project.store.takes(shot_id="good_0")[0].id
    found = project.store.measures(take)
    assert asked > 5 and again == asked
    assert (found["prompt_yes"].value, found["control_yes"].value) == (1.0, 0.0)
    assert found["artefacts"].value == 1
    decision = project.store.standing_decisions()[take]
    assert decision.verdict == "undecided" and "hands" in decision.reasons[0]
    assert (found["expression"].value, found["nudity"].value) == (1.0, 1.0)  # it says yes to both
    assert "the model sees nudity" in decision.reasons

    with told("yes", "yes") as server:
        monkeypatch.setenv("LIMNER_LLM_URL", server.url)
        for file in (project.root / ".limner" / "answers").iterdir():
            file.unlink()
        collect(review(project, ask=True))
    found = project.store.measures(take)
    assert found["prompt_yes"].value is None
    assert "agrees with a wrong prompt" in (found["prompt_yes"].reason or "")

    collect(review(project))
    for name in ("artefacts", "expression", "nudity"):
        unasked = project.store.measures(take)[name]
        assert unasked.value is None and "no vision endpoint" in (unasked.reason or "")


def _matches(shot: object, shots: list[object], body: dict[str, object]) -> bool:
    text = str(body["messages"][0]["content"][-1]["text"])  # type: ignore[index]
    return all(q.text in text for q in questions_for(shot, shots))  # type: ignore[arg-type]


def test_answers_are_read_in_many_forms() -> None:
    assert parse("1: yes\n2. No, it is not\n**3)** Yes\n4: perhaps", 5) == [
        True, False, True, None, None,
    ]  # fmt: skip
    assert parse("1: yes\n1: no", 1) == [True]


def test_page_and_budget_of_a_project(measured: Project) -> None:
    found = collect(review(measured))
    assert len(found["look_at"]) == 1  # a tenth of nine, at least one
    assert found["budget"]["waiting"] == 6 and "beyond the reserve" in found["budget"]["said"]
    assert collect(review(measured))["look_at"] == found["look_at"]
    page = contact_sheet(measured).with_suffix(".html").read_text(encoding="utf-8")
    assert page.count("look at this one") == 1 and "How likeness was judged" in page
    assert np.asarray(Image.open(contact_sheet(measured))).std() > 10
