"""The report tells the truth at every stage: words where nothing was measured, never a 0."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import release_project as make
from hypothesis import given, settings
from hypothesis import strategies as st

from limner.project import Project
from limner.release import curve, page, report, sheets


class Page(HTMLParser):
    """Collects what a browser would fetch, and what is opened and not closed."""

    VOID = frozenset({"meta", "link", "img", "br", "input", "use", "path", "circle", "rect"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.images = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        self.images += tag == "img"
        for name in ("src", "href", "srcset", "data"):
            if known.get(name) and not known[name].startswith(("data:", "#")):
                self.fetched.append(f"{tag} {known[name]}")
        assert tag != "script"
        assert tag != "img" or known.get("alt")
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def words(html: str) -> str:
    body = re.sub(r"<style>.*?</style>|<svg width.*?</svg>", "", html, flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", body).split()).replace(" : ", ": ")


@pytest.mark.parametrize("stages", range(len(make.STAGES) + 1))
def test_every_stage_has_a_whole_page_that_fetches_nothing(stages: int, tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", stages)
    html = report(project).read_text()
    found = Page(html)
    assert found.fetched == [] and found.open == []
    assert "@import" not in html and not re.search(r"url\((?!data:)", html)
    text = words(html)
    if stages < len(make.STAGES):
        assert "Nobody has measured yet" in text and "Not done yet" in text
        assert not re.search(r"\b0 of 0\b|\b0\.0 %", text), "an absent number was shown as 0"
        assert "not done yet" in text or stages == 5
    assert ("limner shots plan" in text) == (stages == 0)


def test_the_verdict_comes_first_then_what_is_not_established(finished: Project) -> None:
    text = words(page.render(finished))
    order = [
        "The same person",
        "Step 200 at strength 1",
        "90.0 %, 95 % interval 79.5 to 96.2 %",
        "Not established",
        "Is it the same person?",
        "Checkpoints",
        "The 8 shots",
        "Training",
        "What was not measured",
        "Receipt",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places)
    assert "Drawings made by Limner itself, not photographs." in text
    assert "small model" in text


def test_rulers_are_drawn_where_the_numbers_say(finished: Project) -> None:
    html = page.render(finished)
    claim = 'class="ruler big " style="--v:0.900;--lo:0.795;--hi:0.962;--t:0.900"'
    assert html.count(claim) == 1
    assert 'class="ruler big neutral" style="--v:0.017;' in html  # the base: a grey diamond
    second = html[html.index("Second embedder") :][:600]
    assert "ruler none" in second and "not measured" in second and "not installed" in second


def test_base_row_first_and_the_winner_never_without_its_tied_set(finished: Project) -> None:
    html = page.render(finished)
    rows = re.findall(r'<div class="line (\w*)"><div class="step"><b>([\w,]+)</b>', html)
    assert rows == [("", "Base"), ("", "Control"), ("", "100"), ("best", "200"), ("tied", "300")]
    cells = Page(
        html[html.index('id="checkpoints"') : html.index('id="shots"')]
        .split(">", 1)[1]
        .rsplit("<section", 1)[0]
        .rsplit("</section>", 1)[0]
    )
    assert cells.images == 5 * 3
    assert re.search(r'class="unmeasured">no face<', html)


def test_shots_keep_their_state_and_their_missing_numbers(finished: Project) -> None:
    html = page.render(finished)
    shots = html[html.index('id="shots"') : html.index('id="training"')]
    assert shots.count('class="take keep plain"') == 6
    assert shots.count('class="take reject plain"') == 1
    assert shots.count('class="take open plain"') == 1 and ">not made<" in shots
    assert '<em class="unmeasured">no face<' in shots
    assert re.search(r"not measured \d\d: no face found", words(shots)), "the reason needs no mouse"
    assert "6 of 8 kept" in shots and "the tick is the threshold, 0.52" in words(shots)


def test_what_people_write_cannot_become_markup(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", 0, name="<script>alert(1)</script>")
    make.add_shots(project)
    project.store.update_shot("shot_001", attributes={"angle": '"><script>x</script>'})
    assert "<script" not in report(project).read_text()


def test_a_long_run_and_many_shots_stay_under_three_megabytes(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", 4)
    assert sheets.album(project).side == sheets.PICTURE_SIDE
    counts = {"shots": 400, "checkpoints": 100}
    project.store.counts = lambda: counts  # type: ignore[method-assign]
    small = sheets.album(project).side
    cell = 0.35 * small * small  # bytes of one WebP thumbnail, measured on drawings: 0.2 to 0.3
    assert cell * 4 / 3 * (400 + 102 * sheets.MATRIX_PROMPTS) < 3e6


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(1e-6, 1e3), min_size=2, max_size=80),
    st.integers(1, 400),
)
def test_every_curve_stays_inside_its_chart(losses: list[float], stride: int) -> None:
    import json
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "metrics.jsonl"
        rows = [{"step": (i + 1) * stride, "loss": v} for i, v in enumerate(losses)]
        path.write_text("\n".join(map(json.dumps, rows)) + '\n{"step": 9')
        chart = curve.curve(path)
    assert chart is not None and chart.steps == len(losses) * stride
    numbers = [tuple(map(float, p.split())) for p in chart.smooth[1:].split("L")]
    assert all(0 <= x <= 1000 and -1e-6 <= y <= 100 for x, y in numbers)
    assert min(losses) * 0.999 <= chart.last <= max(losses) * 1.001
    assert [p for p, _ in chart.y_ticks] == sorted(p for p, _ in chart.y_ticks)
    assert chart.y_ticks[-1][0] == pytest.approx(1)
    assert len({text for _, text in chart.y_ticks}) == len(chart.y_ticks)


def test_advice_on_this_verdict_is_shown_with_its_pictures(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris")
    assert "Not asked yet" in words(page.render(project))
    fact = {
        "holds": True, "text": "2 of 6 show the person, 33 %", "rule": {"tag": "community"},
        "pictures": ["renders/claim-step_000200-1.0-p1-91.png", "renders/gone.png", "../out.png"],
    }  # fmt: skip
    step = {
        "says": "Halve the rate", "size": "0.2 -> 0.1", "cost": "a new training",
        "tag": "community", "source": "guide", "command": "limner advise --apply a.b && limner x",
    }  # fmt: skip
    ill = {
        "name": "Overfit", "signs": "no <variety>", "cause": "Too long.", "state": "found",
        "evidence": [{**fact, "pictures": fact["pictures"][:2]}], "remedies": [step],
    }  # fmt: skip
    open_ = {"name": "Frying", "state": "insufficient evidence"}
    path = project.root / "logs/advice.json"
    path.write_text(json.dumps({"verdict": 1, "symptoms": [ill, open_]}))
    html = page.render(project)
    part = html[html.index('id="advice"') : html.index('id="unmeasured"')]
    assert Page(f"<section {part}</section>".replace("<section <section", "<section")).images == 1
    for said in ("Overfit", "no &lt;variety&gt;", "0.2 to 0.1", "not known: frying", "Too long."):
        assert said in part
    path.write_text(json.dumps({"verdict": 7, "symptoms": [ill]}))  # of another verdict: not shown
    assert "Not asked yet" in words(page.render(project))
    ill["evidence"] = [fact]  # a path that leaves the project: nothing of it is shown
    path.write_text(json.dumps({"verdict": 1, "symptoms": [ill]}))
    assert "Not asked yet" in words(page.render(project))


def test_the_guides_qualities_stand_with_their_answers(tmp_path: Path) -> None:
    project = make.build(tmp_path / "iris", 5)
    rows = [
        {"name": "Consistent face", "state": "measured", "passed": True, "words": "54 of 60"},
        {"name": "Natural skin", "state": "not_measured", "passed": None, "words": "no photos"},
        {"name": "Strengths", "state": "measured", "passed": False, "words": "fails at 0.6"},
        {"name": "New prompts", "state": "measured", "passed": None, "words": "9 of 12"},
    ]  # fmt: skip
    make.add_verdict(project, benchmarks=rows)
    text = words(page.render(project))
    for said in (
        "not decided: 9 of 12",
        "yes: 54 of 60",
        "not measured: no photos",
        "no: fails at 0.6",
    ):
        assert said in text
