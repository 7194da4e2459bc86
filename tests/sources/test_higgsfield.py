"""Pictures from Higgsfield, against a service that does what its documentation says."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_higgsfield import FAST, KEY, SECRET, FakeHiggsfield, Fault

from limner.cli import shell
from limner.errors import InputError, LimnerError, UsageError, WorkFailedError
from limner.events import Notice, collect
from limner.project import Project
from limner.project.files import sha256_file
from limner.sources import LaterError, generate
from limner.sources.higgsfield import keys as keyring
from limner.sources.higgsfield.models import choose_size

Grace = Callable[..., Project]
TINY = (64, 64)
USD = 0.094  # what the fake takes for one picture


def order_all(project: Project, fake: FakeHiggsfield, **more: Any) -> dict[str, Any]:
    options = {"name": "higgsfield", "base_url": fake.url, "max_cost": 5.0, **more}
    found = collect(generate(project, **options))
    assert isinstance(found, dict)
    return found


def test_pictures_are_priced_ordered_and_kept_as_they_came(grace: Grace) -> None:
    project = grace(source__short_side=1024)
    with FakeHiggsfield() as fake:
        events = list(
            generate(project, name="higgsfield", base_url=fake.url, max_cost=0.2, limit=2)
        )
        told = " ".join(e.text for e in events if isinstance(e, Notice))
        assert "2 orders cost $0.19" in told and "1152 x 1152" in told and "No Soul ID" in told
        assert next(path for _, path, _, _ in fake.requests).startswith("/estimate/")
        assert fake.charged == 2
        first, second = project.store.takes()
        sent = [body for _, body in fake.submits()]
        shot = project.store.shot(first.shot_id)
        assert shot and first.request["order"]["body"] in sent
        body = first.request["order"]["body"]
        assert body["prompt"] == shot.prompt and body["enhance_prompt"] is False
        assert body["batch_size"] == 1 and "width" not in body and None not in body.values()
        assert 1 <= body["seed"] == first.seed <= 1_000_000 and first.seed != second.seed
        keys = {headers["Idempotency-Key"] for headers, _ in fake.submits()}
        assert keys == {t.request["order"]["key"] for t in (first, second)} and len(keys) == 2
        for take in (first, second):
            file = project.path(take.path or "")
            assert file.suffix == ".jpg" and sha256_file(file) == take.sha256
            assert (take.width, take.height) == (1152, 1152)
            order = take.request["order"]
            assert order["charged"] is True and order["price"]["usd"] == "0.094"
            assert order["correlation"] and order["request_id"] in fake.jobs
            assert "?" not in order["links"][0], "a signed link is a secret for a while"
            assert take.labels["expires_at"] and take.labels["model"].endswith("soul/v2/standard")


def test_nothing_is_sent_before_the_price_fits_the_caps(grace: Grace) -> None:
    project = grace()
    with FakeHiggsfield(picture=TINY) as fake:
        with pytest.raises(UsageError, match="no limit is set") as none:
            order_all(project, fake, max_cost=None)
        assert "--max-cost 0.80" in str(none.value)
        with pytest.raises(UsageError, match=r"more than --max-cost 0\.5") as low:
            order_all(project, fake, max_cost=0.5)
        assert "--limit 5" in str(low.value)
        found = order_all(project, fake, dry_run=True, max_cost=None)
        assert found["cost"]["usd"] == "0.752" and not project.store.takes()
        assert "1024 x 1024 does not exist" in found["remarks"][0]
        assert not fake.submits() and fake.charged == 0
        assert order_all(project, fake, max_cost=0.5, limit=5)["made"] == 5
        project.change_character(source__max_cost=0.6)
        with pytest.raises(UsageError, match=r"spent \$0\.47.*would pass source\.max_cost 0\.6"):
            order_all(project, fake)
        assert order_all(project, fake, limit=1)["cost"]["spent_usd"] == "0.564"
        assert fake.charged == 6
    with FakeHiggsfield(faults=[Fault("estimate", 200, raw=b'{"usd": "NaN"}')]) as fake:
        with pytest.raises(WorkFailedError, match="no price"):
            order_all(grace("other"), fake)
        assert not fake.submits()


@pytest.mark.parametrize(
    ("fault", "words", "state"),
    [
        (Fault("POST /higgsfield-ai", 401, "Invalid credentials"), "keys", "pending"),
        (Fault("POST /higgsfield-ai", 403, "Not enough credits"), "credits", "pending"),
        (Fault("POST /higgsfield-ai", 404, "Unknown model"), "does not know", "pending"),
        (Fault("POST /higgsfield-ai", 423, "blocked"), "blocked this model", "pending"),
        (Fault("POST /higgsfield-ai", 422, [{"loc": ["body", "seed"], "msg": "no"}]), "seed: no",
         "failed"),
    ],
)  # fmt: skip
def test_every_refusal_says_what_to_do(grace: Grace, fault: Fault, words: str, state: str) -> None:
    project = grace()
    with FakeHiggsfield(picture=TINY, faults=[fault]) as fake:
        said = ""
        try:
            for event in generate(
                project, name="higgsfield", base_url=fake.url, max_cost=1, limit=1
            ):
                said += f" {event.text}" if isinstance(event, Notice) else ""
        except LimnerError as error:
            assert isinstance(error, LaterError) and error.fix and "corr-" in (error.where or "")
            said += str(error)
        assert words in said
        assert [t.state for t in project.store.takes()] == [state]
        assert fake.charged == 0
        found = order_all(project, fake, limit=1)
        assert (found["made"], found["resumed"]) == (1, int(state == "pending"))
        assert found["cost"]["spent_usd"] == "0.094" and fake.charged == 1


def test_a_stumbling_service_is_asked_again_with_the_same_key(grace: Grace) -> None:
    """The official package sends another order here; three lost answers would cost three times."""
    project = grace()
    lost = [Fault("POST /higgsfield-ai", status, after=True) for status in (0, 503, 429)]
    with FakeHiggsfield(picture=TINY, faults=lost) as fake:
        assert order_all(project, fake, limit=1)["made"] == 1
        assert len(fake.submits()) == 4 and fake.charged == 1 and len(fake.jobs) == 1
        assert len({headers["Idempotency-Key"] for headers, _ in fake.submits()}) == 1
        fake.faults += [Fault("POST /higgsfield-ai", 503, after=True) for _ in range(5)]
        with pytest.raises(LaterError):
            order_all(project, fake, limit=1)
        assert project.store.takes(state="pending") and fake.charged == 2
        assert order_all(project, fake, limit=1)["resumed"] == 1
        assert fake.charged == 2 == len(project.store.takes(state="done"))


def test_what_is_held_back_or_fails_is_not_paid_and_tried_with_another_seed(grace: Grace) -> None:
    project = grace()
    states = {1: "nsfw", 2: "failed"}
    with FakeHiggsfield(picture=TINY, outcome=lambda n: states.get(n, "completed")) as fake:
        project.change_character(source__higgsfield__at_once=1)
        events = list(generate(project, name="higgsfield", base_url=fake.url, max_cost=2, limit=3))
        told = " ".join(e.text for e in events if isinstance(e, Notice))
        assert "filter held this picture back" in told and "the worker gave up" in told
        assert fake.charged == 1
        found = order_all(project, fake)
        assert found["open"] == 0 and found["cost"]["spent_usd"] == "0.752" and fake.charged == 8
        tries = [t for t in project.store.takes() if t.shot_id == "shot_001"]
        assert [t.state for t in tries] == ["failed", "done"] and tries[0].seed != tries[1].seed


def test_a_full_service_is_waited_for_and_a_wrong_order_is_not(grace: Grace) -> None:
    """Both are 400 with words that change; the estimate tells them apart."""
    project = grace()
    with FakeHiggsfield(picture=TINY, limit=2, times=(0.03, 0.03)) as fake:
        found = order_all(project, fake)
        assert found["made"] == 8 and found["failed"] == 0
        assert fake.most_at_once == 2 and fake.charged == 8
    project = grace("wrong")
    wrong = [Fault("POST /higgsfield-ai", 400, "this prompt is not allowed")]
    with FakeHiggsfield(picture=TINY, faults=wrong) as fake:
        fake.before = lambda n: _refuse_estimates(fake)
        events = list(generate(project, name="higgsfield", base_url=fake.url, max_cost=1, limit=1))
        told = " ".join(e.text for e in events if isinstance(e, Notice))
        assert "rejected this order" in told and len(fake.submits()) == 1 and fake.charged == 0


def _refuse_estimates(fake: FakeHiggsfield) -> None:
    """The estimate that follows a refused order refuses too."""
    if fake.submits() and not fake.faults and len(fake.submits()) == 1:
        fake.faults.append(Fault("POST /estimate", 400, "this prompt is not allowed"))


def test_broken_downloads_are_fetched_again_and_expired_ones_said(grace: Grace) -> None:
    project = grace()
    with FakeHiggsfield(picture=(256, 256), files=["cut", "garbage", "half", "slow"]) as fake:
        assert order_all(project, fake, limit=1)["made"] == 1
        assert fake.charged == 1 and len(fake.fetched) == 1
        fake.files = ["half"] * 5
        found = order_all(project, fake, limit=1)
        assert (found["made"], found["later"]) == (0, 1)
        assert order_all(project, fake, limit=1)["resumed"] == 1 and fake.charged == 2
    with FakeHiggsfield(picture=TINY, file_life=-1.0) as fake:
        events = list(
            generate(grace("late"), name="higgsfield", base_url=fake.url, max_cost=1, limit=1)
        )
        told = " ".join(e.text for e in events if isinstance(e, Notice))
        assert "paid, but its link has expired" in told
        assert events[-1].value["cost"]["spent_usd"] == "0.094"  # type: ignore[union-attr]


def test_an_order_that_takes_long_stays_and_is_waited_for_next_time(grace: Grace) -> None:
    limits = {**FAST, "job_s": 0.05}
    project = grace(source__limits=limits)
    with FakeHiggsfield(picture=TINY, times=(0.0, 60.0)) as fake:
        found = order_all(project, fake, limit=2)
        assert (found["made"], found["failed"], found["later"]) == (0, 0, 2)
        assert found["cost"]["spent_usd"] == "0.188"
        assert len(fake.jobs) == 2 == len(project.store.takes(state="pending"))
        fake.times = (0.0, 0.0)
        project.store.update_shot("shot_001", state="kept")  # paid pictures are fetched anyway
        assert order_all(project, fake, limit=2)["resumed"] == 2 and len(fake.jobs) == 2


def test_a_batch_gives_four_takes_of_one_order(grace: Grace) -> None:
    project = grace(source__higgsfield__batch=4)
    with FakeHiggsfield(picture=TINY) as fake:
        found = order_all(project, fake, limit=1)
        assert found["made"] == 4 == fake.charged and len(fake.jobs) == 1
        assert found["cost"]["spent_usd"] == "0.375"
        takes = project.store.takes(shot_id="shot_001")
        assert len({t.sha256 for t in takes}) == 4 == len({t.path for t in takes})
        assert order_all(project, fake, limit=1)["cost"]["retakes"] == 0
    with pytest.raises(InputError, match="batch"):
        grace("two").change_character(source__higgsfield__batch=2)


def test_domains_come_one_by_one_with_a_look_between(grace: Grace) -> None:
    project = grace()
    angles = {s.id: s.attributes["angle"] for s in project.store.shots()}
    with FakeHiggsfield(picture=TINY) as fake:
        order_all(project, fake, domain="front")
        made = {t.shot_id for t in project.store.takes()}
        assert made == {i for i, angle in angles.items() if angle == "front"}
        with pytest.raises(UsageError, match="not reviewed yet"):
            order_all(project, fake, domain="next")
        for take in project.store.takes():
            project.store.decide(take.id, "keep", [], "person")
        order_all(project, fake, domain="next")
        more = {t.shot_id for t in project.store.takes()} - made
        assert {angles[i] for i in more} == {"three_quarter"}
        with pytest.raises(UsageError, match="no domain 'left'"):
            order_all(project, fake, domain="left")


def test_sizes_are_those_of_the_service() -> None:
    assert (choose_size("1:1", 1024).width, choose_size("1:1", 1024).resolution) == (1152, "720p")
    assert choose_size("9:16", 1024).resolution == "1080p"  # 864 px wide at 720p
    assert (choose_size("16:9", 800).width, choose_size("16:9", 800).height) == (1536, 864)
    with pytest.raises(InputError, match="1365 px"):
        choose_size("2:3", 1400)


def test_a_smaller_picture_than_promised_is_marked(grace: Grace) -> None:
    project = grace(source__short_side=1024)
    with FakeHiggsfield(picture=(512, 768)) as fake:
        run = generate(project, name="higgsfield", base_url=fake.url, max_cost=1, limit=1)
        assert any("short side 512" in e.text for e in run if isinstance(e, Notice))
    take = project.store.takes()[0]
    assert (take.width, take.height) == (512, 768) and "512" in take.labels["too_small"]


def test_keys_are_found_told_apart_and_never_written(
    grace: Grace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = keyring.find_keys
    both = {"HF_KEY": "a:b", "HIGGSFIELD_API_KEY": "c", "HIGGSFIELD_SECRET": "d"}
    assert find(both).model_headers() == {"Authorization": "Key c:d"}
    assert find({"HF_API_KEY": "a", "HF_API_SECRET": "b"}).pair_headers()["hf-secret"] == "b"
    assert find({"HF_CREDENTIALS": "a:b"}).origin == "HF_CREDENTIALS"
    assert "b" not in repr(find({"HF_KEY": "aa:bb"})).split("origin")[0].replace("hi", "")
    for wrong in ({"HF_KEY": "hf_abcdef"}, {"HF_API_KEY": "x"}, {"HF_KEY": "a b:c"}, {}):
        monkeypatch.setattr(keyring, "_from_keyring", lambda: None)
        with pytest.raises(UsageError) as error:
            find(wrong)
        assert "hf_abcdef" not in str(error.value)
    project = grace()
    echo = Fault("POST /higgsfield-ai", 401, f"bad key {KEY}:{SECRET} or {SECRET}")
    with FakeHiggsfield(picture=TINY, faults=[echo]) as fake:
        args = ["-C", str(project.root), "generate", "--with", "higgsfield", "--base-url", fake.url]
        code = shell.run([*args, "--max-cost", "1", "--limit", "1", "--json", "--events"])
        first = capsys.readouterr()
        assert code == 3 and "<key>" in first.out
        assert shell.run([*args, "--max-cost", "1", "--limit", "1", "--json"]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert found["made"] == 1 and found["cost"]["spent_usd"] == "0.094"
        assert shell.run([*args[:-1], "http://example.org", "--json"]) == 2  # keys in the clear
    project.store.close()
    texts = [first.out, first.err, capsys.readouterr().out]
    texts += [p.read_bytes().decode("latin-1") for p in project.root.rglob("*") if p.is_file()]
    assert not [t for t in texts if SECRET in t or KEY in t]


@pytest.fixture
def heard() -> Iterator[None]:
    """Ctrl-C is heard, also where the tests run in the background and were told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_an_interrupted_run_does_not_wait_for_the_service(grace: Grace) -> None:
    project = grace()
    with FakeHiggsfield(picture=TINY, times=(0.0, 60.0)) as fake:
        run = generate(project, name="higgsfield", base_url=fake.url, max_cost=2, limit=2)
        struck: list[float] = []

        def interrupt() -> None:
            while len(fake.jobs) < 2:
                time.sleep(0.01)
            struck.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            collect(run)
        assert time.monotonic() - struck[0] < 20, "the orders would take a minute"
        fake.times = (0.0, 0.0)
        assert order_all(project, fake, limit=2)["resumed"] == 2 and fake.charged == 2


def test_the_official_client_finds_the_fake_to_be_the_service(tmp_path: Path) -> None:
    """So that the fake is not merely our own opinion."""
    official = pytest.importorskip(
        "higgsfield_client", reason="the official higgsfield-client is not installed"
    )
    with FakeHiggsfield(picture=TINY, times=(0.02, 0.02)) as fake:
        client = official.SyncClient(base_url=fake.url, api_key=f"{KEY}:{SECRET}")
        body = {"prompt": "a woman in a red coat", "seed": 7, "batch_size": 1}
        done = client.subscribe("higgsfield-ai/soul/v2/standard", body)
        assert done["status"] == "completed" and done["images"][0]["url"].startswith(fake.url)
        fake.times = (60.0, 0.0)
        waiting = client.submit("higgsfield-ai/soul/standard", body)
        assert type(waiting.status()).__name__ == "Queued"
        waiting.cancel()
        assert type(waiting.status()).__name__ == "Cancelled" and fake.charged == 1
        file = tmp_path / "face.jpg"
        file.write_bytes(fake._jpeg(next(iter(fake.jobs.values())), "0.jpg"))
        assert client.upload_file(str(file)).startswith(fake.url) and len(fake.uploads) == 1
        with pytest.raises(official.HiggsfieldClientError):
            client.submit("higgsfield-ai/soul/standard", {**body, "batch_size": 2})
        wrong = official.SyncClient(base_url=fake.url, api_key="someone:else")
        with pytest.raises(official.HiggsfieldClientError):
            wrong.submit("higgsfield-ai/soul/standard", body)
