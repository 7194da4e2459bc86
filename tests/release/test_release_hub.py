"""A release arrives on the hub whole, with the right parts, or an error says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import release_project as make
from fake_hub import FakeHub

from limner.errors import InputError, UsageError, WorkFailedError
from limner.events import Notice, collect
from limner.project import Project, files
from limner.release import push, release, verify

hub_client = pytest.importorskip("huggingface_hub", reason="pushing needs huggingface_hub")
KEY = "hf_secretkeyfortests"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Project, Path]:
    project = make.build(tmp_path_factory.mktemp("hub") / "iris")
    return project, project.root / collect(release(project))["path"]


@pytest.fixture(autouse=True)
def _quiet_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second transfer protocol, no login of the machine, no waits."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", KEY)
    monkeypatch.setattr("time.sleep", lambda seconds: None)


def test_the_whole_bundle_arrives_without_kit_and_dataset(
    made: tuple[Project, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project, folder = made
    with FakeHub(KEY, down=1) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(WorkFailedError, match="503"):
            collect(push(project, folder, "me/iris"))
        seen: list[object] = []
        value = collect(push(project, folder, "me/iris"), seen.append)
        first = next(e.text for e in seen if isinstance(e, Notice))
        assert first.startswith("Sending release 1, step_000200 at strength 1, the verdict's")
        repo = hub.repos["me/iris"]
        assert repo.private and any(isinstance(e, Notice) and "private" in e.text for e in seen)
        assert value["sha256"] == files.sha256_file(folder / "iris_v1.safetensors")
        assert repo.commits == ["Release v1 by Limner"]
        names = set(repo.files)
        assert {"README.md", "receipt.json", "iris_v1.safetensors", "samples/01.png"} <= names
        assert not any(n.startswith("civitai/") or n.endswith(".zip") for n in names)
        arrived = tmp_path / "arrived"
        for name, data in repo.files.items():
            files.write_bytes(arrived / name, data)
        assert verify(arrived) == []  # the receipt holds without the parts left at home
        # once more, with the dataset: what is there is not sent twice
        before = sum(p.startswith("PUT") for p in hub.paths)
        collect(push(project, folder, "me/iris", private=False, with_dataset=True))
        assert sum(p.startswith("PUT") for p in hub.paths) == before + 1
        assert "iris_dataset.zip" in hub.repos["me/iris"].files
    assert KEY not in json.dumps([e.data for e in project.store.diary("release")])


def test_an_older_release_leaves_nothing_behind_and_files_of_others_stay(
    made: tuple[Project, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    project, folder = made

    def download(hub: FakeHub, place: Path) -> Path:
        for name, data in hub.repos["me/iris"].files.items():
            files.write_bytes(place / name, data)
        return place

    with FakeHub(KEY) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        old = collect(push(project, folder, "me/iris", with_dataset=True))
        assert old["removed"] == []
        there = hub.repos["me/iris"].files
        there[".gitattributes"] = b"*.png filter=lfs"
        # as an older release left it: a picture more, of a name that is a pattern too
        told = json.loads(there["receipt.json"])
        told["files"].append({"path": "samples/[9]*.png", "bytes": 3, "sha256": "0"})
        there["receipt.json"] = json.dumps(told).encode()
        there["samples/[9]*.png"] = b"old"
        found = collect(push(project, folder, "me/iris"))
        assert found["removed"] == ["iris_dataset.zip", "samples/[9]*.png"]
        assert verify(download(hub, tmp_path / "whole")) == []
        # what no receipt lists is somebody's own
        there["notes.md"] = b"mine"
        seen: list[object] = []
        assert collect(push(project, folder, "me/iris"), seen.append)["removed"] == []
        assert any(isinstance(e, Notice) and "notes.md" in e.text for e in seen)
        assert {"notes.md", ".gitattributes", "samples/01.png"} <= set(there)
        there["receipt.json"] = b"{"
        assert collect(push(project, folder, "me/iris"))["removed"] == []


def test_a_wrong_key_and_a_wrong_file_are_said_without_the_key(
    made: tuple[Project, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    project, folder = made
    with FakeHub("hf_anotherkey") as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(UsageError, match="did not accept the key") as told:
            collect(push(project, folder, "me/iris"))
        assert KEY not in str(told.value) + str(told.value.fix)
    with FakeHub(KEY, corrupt=True) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(WorkFailedError, match="another file than the one sent"):
            collect(push(project, folder, "me/iris"))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(WorkFailedError, match="hub did not take"):
        collect(push(project, folder, "me/iris"))


def test_nothing_is_sent_that_does_not_hold_or_was_not_agreed_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    consent = {"evidence": "mail 12", "date": "2026-01-02", "scope": "train and publish"}
    project = make.build(tmp_path / "iris", likeness="consented_person", consent=consent)
    folder = project.root / collect(release(project))["path"]
    with FakeHub(KEY) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(UsageError, match="OWNER/NAME"):
            collect(push(project, folder, "iris"))
        with pytest.raises(InputError, match="giving away the training pictures"):
            collect(push(project, folder, "me/iris", with_dataset=True))
        guide = folder / "USAGE.md"
        good = guide.read_text()
        guide.write_text(good + " ")
        with pytest.raises(InputError, match="does not hold"):
            collect(push(project, folder, "me/iris"))
        guide.write_text(good)
        project.change_character(consent__revoked="2026-03-04")
        with pytest.raises(InputError, match="taken back"):
            collect(push(project, folder, "me/iris"))
        assert hub.paths == []
