"""A symptom is found where it was planted, refuted where it was measured, and else not known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import advice_project as make
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.chat import ChatServer, Fault
from limner.advice import advise, answer, apply, numbers
from limner.advice.remedies import REMEDIES
from limner.advice.rules import RULES
from limner.advice.symptoms import SYMPTOMS
from limner.errors import NotReadyError, UsageError
from limner.llm import find_endpoint
from limner.project import Project
from limner.project.records import Measure

Ill = Callable[[Project], None]


def with_measure(*rows: dict) -> Ill:
    keys = {r["key"] for r in rows}
    kept = [m for m in make.HEALTHY_MEASURES if m["key"] not in keys]
    return lambda project: make.verdict(project, measures=[*kept, *rows])


def rescored(name: str, value: float, every: int = 1, phase: str = "claim") -> Ill:
    def ill(project: Project) -> None:
        mine = [r for r in project.store.renders(1) if (r.arm, r.phase) == ("step_000200", phase)]
        for render in mine[::every]:
            project.store.put_scores(render.id, [Measure(name, value)])

    return ill


def stronger_is_better(project: Project) -> None:
    def score(step: int | None, strength: float, seed: int) -> float:
        return 0.05 if step is None else step / 1000 * strength + 0.001 * seed

    make.renders(project, score)
    few = {"match_rate": 0.1, "hits": 5, "n": 48, "interval": [0.03, 0.23]}
    make.verdict(project, **few, step=300, checkpoint="step_000300", strength=1.0)


def learned_by_heart(project: Project) -> None:
    rescored("copy_bits", 2.0, every=3)(project)
    row = make.measure("diversity_ratio", 0.3, 0.2, 0.4)
    with_measure(row)(project)


def out_of_memory(project: Project) -> None:
    error = "CUDA out of memory. Tried to allocate 2.00 GiB"
    project.store.update_run(1, state="failed", error=error)


def one_view_fails(project: Project) -> None:
    for render in project.store.renders(1):
        if render.phase == "claim" and int(render.prompt_id[1:]) % 3 == 2:
            project.store.put_scores(render.id, [Measure("match", 0.0)])
    make.verdict(project, match_rate=0.6, hits=29, n=48, interval=[0.45, 0.74])


def another_face(project: Project) -> None:
    for take in (7, 9, 11, 13, 15, 17):
        project.store.put_measures(take, [Measure("identity_drawn", 0.2, "cosine")])


def lost_checkpoint(project: Project) -> None:
    (project.root / "models/run_1/step_000200.safetensors").unlink()


PLANTED: dict[str, tuple[Ill, str]] = {
    "plastic_skin": (with_measure(make.measure("skin_z", -3.1, -3.6, -2.5)), "smoother skin"),
    "face_inconsistency": (one_view_fails, "side views"),
    "background_bleed": (rescored("background_similarity", 0.9), "come along"),
    "overfit": (learned_by_heart, "by heart"),
    "underfit": (stronger_is_better, "still growing"),
    "body_proportions": (with_measure(make.measure("proportion_head", 1.4, 1.25, 1.6)), "Bodies"),
    "crashes": (out_of_memory, "more memory"),
    "not_saving": (lost_checkpoint, "not written"),
    "copying": (rescored("copy_bits", 2.0, every=3), "by heart"),
    "trigger_leakage": (
        lambda p: make.verdict(
            p, untriggered_hits=24, untriggered_n=48, untriggered_interval=[0.35, 0.65]
        ),
        "class word",
    ),
    "frying": (with_measure(make.measure("chroma_ratio", 1.4, 1.3, 1.5)), "overdrives colour"),
    "inconsistent_dataset": (another_face, "another face"),
}


def states(project: Project) -> dict[str, str]:
    return {s["id"]: s["state"] for s in advise(project, captions=[])["symptoms"]}


def test_a_healthy_project_has_no_symptom_and_everything_was_looked_at(tmp_path: Path) -> None:
    data = advise(make.build(tmp_path / "p"), captions=[])
    assert data["found"] == [] and data["insufficient"] == [] and data["next"] is None
    assert [s["id"] for s in data["symptoms"]] == [s.id for s in SYMPTOMS] == list(REMEDIES)
    assert all(s["evidence"] for s in data["symptoms"])


@pytest.mark.parametrize("symptom", PLANTED)
def test_a_planted_fault_is_found_with_evidence_cause_and_remedies(
    symptom: str, tmp_path: Path
) -> None:
    project = make.build(tmp_path / "p")
    ill, cause = PLANTED[symptom]
    ill(project)
    data = advise(project, captions=[])
    found = next(s for s in data["symptoms"] if s["id"] == symptom)
    assert found["state"] == "found" and cause in found["cause"]
    assert any(fact["holds"] for fact in found["evidence"])
    assert found["remedies"] and data["next"]
    for step in found["remedies"]:
        assert step["source"] and step["tag"] and step["cost"]
        assert step["size"] or step["command"] or step["cost"] == "nothing to run"
    others = set(data["found"]) - {symptom}
    kin = {"overfit": {"copying"}, "underfit": {"face_inconsistency"}}
    assert others <= kin.get(symptom, set()), others


def test_more_steps_are_never_the_cure_for_what_was_learned_by_heart(tmp_path: Path) -> None:
    """Six pictures trained for long: hardly a match, and the loss on unseen pictures doubles."""
    project = make.build(tmp_path / "p")
    weak = {"match_rate": 0.1, "hits": 5, "n": 48, "interval": [0.03, 0.23]}
    make.verdict(project, **weak)
    assert "underfit" in advise(project)["found"]
    rows = [
        {"step": step, "held_out_loss": held, "trained_loss": trained}
        for step, held, trained in (
            (0, 0.4, 0.4),
            (40, 0.41, 0.3),
            (99, 0.6, 0.1),
            (200, 0.8, 0.07),
        )
    ]
    path = project.root / "logs/run_1/metrics.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    data = advise(project)
    assert "overfit" in data["found"] and "underfit" not in data["found"]
    fact = next(f for s in data["symptoms"] for f in s["evidence"] if f["id"] == "unseen")
    assert fact["value"] == 2.0 and "2.00 times" in fact["text"] and "0.18 times" in fact["text"]


@pytest.mark.parametrize(
    ("kept", "state"),
    [(0.3, "found"), (0.8, "not found"), (2.0, "not found"), (None, "not found")],
)
def test_training_and_unseen_pictures_that_part_are_overfit_alone(
    kept: float | None, state: str, tmp_path: Path
) -> None:
    """Held-out loss 1.6 times that before; what its own pictures did says what it means."""
    project = make.build(tmp_path / "p")
    looks = ((0, 0.5, 1.0), (100, 0.8, 0.5), (200, 0.8, kept), (300, 0.8, kept))
    rows = [
        {"step": step, "held_out_loss": held, **({} if own is None else {"trained_loss": own})}
        for step, held, own in looks
    ]
    path = project.root / "logs/run_1/metrics.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    overfit = next(s for s in advise(project)["symptoms"] if s["id"] == "overfit")
    assert overfit["state"] == state
    if state == "found":
        assert "by heart" in overfit["cause"]
        assert overfit["remedies"]


@pytest.mark.parametrize(
    ("own", "state"), [(20.0, "found"), (34.0, "not found"), (28.0, "insufficient evidence")]
)
def test_a_colourful_person_is_not_fried(own: float, state: str, tmp_path: Path) -> None:
    """Fresh pictures at C*ab 33, 1.4 times the base's; `own`: what the training pictures have."""
    project = make.build(tmp_path / "p")
    with_measure(make.measure("chroma_ratio", 1.4, 1.3, 1.5))(project)
    for render in project.store.renders(1, state="done"):
        value = 33 + (int(render.prompt_id[1:]) % 3 - 1) * 6
        project.store.put_scores(render.id, [Measure("chroma", float(value), "C*ab")])
    for take in project.store.kept():
        project.store.put_measures(take.id, [Measure("picture_chroma", own, "C*ab")])
    frying = next(s for s in advise(project)["symptoms"] if s["id"] == "frying")
    assert frying["state"] == state
    if state == "insufficient evidence":
        assert "the person's own" in str(frying["missing"])
    else:
        assert f"{33 / own:.2f} times its" in str(frying["evidence"])


def test_likeness_far_from_the_base_calls_for_no_more_steps(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris")
    few = {"word": "not the same person", "hits": 2, "match_rate": 2 / 48, "interval": [0.01, 0.14]}
    make.verdict(project, **few, threshold=0.9)  # likeness .8, the base's .05: most of the way
    data = advise(project)
    assert "underfit" not in data["found"] and "face_inconsistency" in data["found"]
    fresh = [r for r in project.store.renders(1, state="done") if r.phase == "claim" and r.step]
    for render in fresh:  # .65 on average, so different that half of the way is not sure
        value = 0.3 if int(render.prompt_id[1:]) % 2 else 1.0
        project.store.put_scores(render.id, [Measure("identity_drawn", value, "cosine")])
    data = advise(project)
    assert "underfit" in data["found"]
    (lead,) = (
        f for s in data["symptoms"] if s["id"] == "underfit" for f in s["evidence"]
        if f["id"] == "lead"
    )  # fmt: skip
    assert "likeness went 71 % of the way from the base to the line, 95 % interval 4" in str(lead)


def test_evidence_names_the_pictures_to_look_at(tmp_path: Path) -> None:
    project = make.build(tmp_path / "p")
    one_view_fails(project)
    data = advise(project)
    pose = next(f for s in data["symptoms"] for f in s["evidence"] if f["id"] == "pose")
    assert pose["pictures"] and all("f" in p and p.startswith("renders/") for p in pose["pictures"])
    assert pose["interval"][1] < 0 and "0 % of 16" in pose["text"]


def test_what_nobody_measured_is_not_known_and_says_how_to_get_it(tmp_path: Path) -> None:
    project = make.build(tmp_path / "p")
    make.verdict(project, measures=[], untriggered_hits=None, untriggered_n=None)
    data = advise(project)
    known = {s["id"]: s for s in data["symptoms"]}
    for name in ("plastic_skin", "body_proportions", "trigger_leakage", "frying"):
        assert known[name]["state"] == "insufficient evidence"
        assert not any(fact["holds"] for fact in known[name]["evidence"])
        assert all(m["reason"] and m["how"] for m in known[name]["missing"])
        assert known[name]["remedies"] == []
    # wide intervals are no answer either
    with_measure(make.measure("skin_z", -2.2, -3.9, -0.5))(project)
    assert states(project)["plastic_skin"] == "insufficient evidence"


def test_before_there_is_anything_it_says_so(tmp_path: Path) -> None:
    given = {"name": "Iris", "trigger": "iris_char", "class_word": "woman"}
    project = Project.create(tmp_path / "p", **given, likeness="synthetic")
    with pytest.raises(NotReadyError, match="nothing to give advice on"):
        advise(project)


def test_the_users_own_threshold_wins(tmp_path: Path) -> None:
    project = make.build(tmp_path / "p")
    make.verdict(project, match_rate=0.5, hits=24, n=48, interval=[0.35, 0.65])
    assert states(project)["face_inconsistency"] == "found"
    path = project.root / "character.yaml"
    path.write_text(path.read_text() + "advice: {thresholds: {consistent: 0.3}}\n")
    project = Project.open(project.root)
    assert states(project)["face_inconsistency"] == "not found"


def test_a_remedy_is_applied_by_its_name_and_comments_stay(tmp_path: Path) -> None:
    project = make.build(tmp_path / "p")
    learned_by_heart(project)
    advise(project)
    before = (project.root / "character.yaml").read_text()
    done = apply(project, "overfit.learning_rate")
    assert done["size"] == "learning rate 0.001 -> 0.0005"
    assert project.character.training.learning_rate == 0.0005
    after = (project.root / "character.yaml").read_text()
    said = [[x.split("#")[1] for x in text.splitlines() if "#" in x] for text in (before, after)]
    assert said[0] and said[0] == said[1]
    with pytest.raises(UsageError, match="changes no setting"):
        apply(project, "overfit.earlier")
    with pytest.raises(UsageError, match="no change of settings called"):
        apply(project, "overfit.magic")
    one_view_fails(project)
    told = next(s for s in advise(project)["symptoms"] if s["id"] == "face_inconsistency")
    step = next(r for r in told["remedies"] if r["id"] == "face_inconsistency.pose")
    assert step["command"].startswith(
        "limner advise --apply face_inconsistency.pose && limner -C ../p_2 shots plan && "
    )
    (project.root / "mine").mkdir()
    (project.root / "mine/face.png").write_bytes(b"a picture the source is shown")
    project.change_character(source__comfyui={"references": ["mine/face.png"]})
    done = apply(project, "face_inconsistency.pose")  # the shots here have pictures
    other = Project.open(tmp_path / "p_2")
    assert done["project"] == str(other.root.resolve())
    assert not project.character.shots.quotas and not other.store.takes()
    assert other.character.training == project.character.training
    assert (other.root / "mine/face.png").is_file()  # character.yaml names it
    quota = other.character.shots.quotas["angle"]
    assert sum(quota.values()) == pytest.approx(100) and quota["side"] > 40


def test_faces_that_training_breaks_are_frying(tmp_path: Path) -> None:
    """Also where the choice went around them: the last checkpoint lost them while choosing."""
    project = make.build(tmp_path / "p")
    last = max(r.step for r in project.store.renders(1) if r.step is not None)
    for render in project.store.renders(1):
        if render.step == last:
            project.store.put_scores(render.id, [Measure("face", 0.0)])
    data = advise(project, captions=[])
    found = next(s for s in data["symptoms"] if s["id"] == "frying")
    assert found["state"] == "found" and "breaks faces" in found["cause"]
    fact = next(f for f in found["evidence"] if f["id"] == "lost_faces")
    assert "loses the face in" in fact["text"] and fact["pictures"]


def test_few_own_pictures_do_not_make_a_dataset_inconsistent(tmp_path: Path) -> None:
    project = make.build(tmp_path / "p")
    make.verdict(
        project, ceiling=8 / 9, ceiling_hits=8, ceiling_n=9, ceiling_interval=[0.518, 0.997]
    )
    assert states(project)["inconsistent_dataset"] == "insufficient evidence"
    make.verdict(
        project, ceiling=0.5, ceiling_hits=20, ceiling_n=40, ceiling_interval=[0.338, 0.662]
    )
    assert states(project)["inconsistent_dataset"] == "found"
    found = advise(project, captions=[{"rule": "constant", "severity": "error"}])["symptoms"]
    ill = next(s for s in found if s["id"] == "inconsistent_dataset")
    mend = next(r["command"] for r in ill["remedies"] if r["id"].endswith(".captions"))
    # without --apply only the difference is shown, and the training after it learns the same
    assert mend.startswith("limner captions fix --apply && limner dataset build")


def test_without_an_endpoint_the_rules_answer_and_show_their_facts(tmp_path: Path) -> None:
    project = make.build(tmp_path / "p")
    learned_by_heart(project)
    told = {**advise(project), "verdict": 3, "statement": "Step 200 is the same person."}
    chosen = answer(told, "What checkpoint was chosen, and why?")
    assert chosen["answer"] == "Step 200 is the same person."
    assert [f["source"] for f in chosen["facts"]] == ["verdict 3"]
    cafe = answer(advise(project), "Why is she always in a cafe?")
    assert cafe["answer"].startswith("Background and light bleed")
    said = answer(advise(project), "Is it overfit? There is no variety.")
    assert said["by"] == "rules" and "Overfit: found" in said["answer"]
    assert {"copies", "diversity_ratio"} <= {f["id"] for f in said["facts"]}


def test_a_model_speaks_of_facts_or_is_not_shown(tmp_path: Path) -> None:
    project = make.build(tmp_path / "p")
    learned_by_heart(project)
    data = advise(project)
    replies = [
        "16 of 48 fresh pictures are nearly a training picture [F1], so use fewer steps.",
        "Raise the rank to 4096 [F1].",
        "It looks overfit to me.",
        "See [F999].",
        "The records do not say.",
    ]

    def speak(body: dict) -> str:
        told = body["messages"][0]["content"]
        number = next(x for x in told.splitlines() if "nearly a training picture" in x)
        return replies.pop(0).replace("F1]", number.split("]")[0].strip("[") + "]")

    with ChatServer(speak, faults=[]) as server:
        endpoint = find_endpoint(server.url, "tiny-vl")
        good, invented, bare, strange, silent = (
            answer(data, "Why no variety?", endpoint) for _ in range(5)
        )
        told = server.requests[0][2]["messages"][0]["content"]
    assert good["by"] == "tiny-vl" and [f["id"] for f in good["facts"]] == ["copies"]
    assert "FACTS" in told and "MANUAL" in told and "overfit" in told.lower()
    for refused, why in ((invented, "4096"), (bare, "cites nothing"), (strange, "F999")):
        assert refused["by"] == "rules" and why in refused["note"]
    assert silent["answer"] == "The records do not say." and silent["facts"] == []
    with ChatServer(faults=[Fault(401, "no")] * 9) as server:
        failed = answer(data, "Why?", find_endpoint(server.url, "tiny-vl"))
    assert failed["by"] == "rules" and "401" in failed["note"]


@pytest.mark.parametrize(
    ("n", "hits", "low", "high"),
    [(20, 20, 0.839, 1.0), (20, 19, 0.764, 0.991), (40, 36, 0.769, 0.960), (60, 54, 0.799, 0.953)],
)
def test_shares_have_the_published_intervals(n: int, hits: int, low: float, high: float) -> None:
    seen = numbers.share(hits, n)
    assert (seen.low, seen.high) == pytest.approx((low, high), abs=6e-4)


@given(st.integers(1, 400), st.data())
def test_shares_stay_inside_their_intervals(n: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, n))
    seen = numbers.share(hits, n)
    assert 0 <= seen.low <= seen.value + 1e-12 and seen.value - 1e-12 <= seen.high <= 1
    other = numbers.share(data.draw(st.integers(0, n)), n)
    gap, back = numbers.share_difference(seen, other), numbers.share_difference(other, seen)
    assert gap.low == pytest.approx(-back.high) and gap.low <= gap.value <= gap.high


def test_means_are_over_prompts_not_pictures() -> None:
    one = numbers.mean({"a": [1.0], "b": [2.0], "c": [3.0]})
    many = numbers.mean({"a": [1.0] * 9, "b": [2.0] * 9, "c": [3.0]})
    assert one is not None and many == one
    assert (one.low, one.high) == pytest.approx((2 - 4.303 / 3**0.5, 2 + 4.303 / 3**0.5), abs=1e-3)
    assert numbers.mean({"a": [1.0, 5.0]}) is None


def test_the_manual_names_every_rule_with_its_value_and_every_symptom() -> None:
    page = (Path(__file__).parents[2] / "docs" / "advice.md").read_text()
    for name, rule in RULES.items():
        assert f"| `{name}` | {rule.value:g} | {rule.meaning} | {rule.tag}: " in page
    for symptom in SYMPTOMS:
        assert f"| {symptom.name} | {symptom.signs} |" in page


def test_one_embedder_alone_finds_no_other_face(tmp_path: Path) -> None:
    """A turned face lies low in one of the two; review goes by the odds of both, so does this."""
    project = make.build(tmp_path / "p")
    another_face(project)
    for take in (7, 9, 11, 13, 15, 17):
        odds, limit = Measure("identity_odds", 2.0), Measure("identity_odds_limit", 0.2)
        project.store.put_measures(take, [odds, limit])
    assert states(project)["inconsistent_dataset"] == "not found"
    for take in (7, 9, 11, 13, 15, 17):
        project.store.put_measures(take, [Measure("identity_odds", -1.0)])
    assert states(project)["inconsistent_dataset"] == "found"
