"""The command line as people and programs meet it: answers, errors, exit codes, speed."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from limner.cli import shell as cli
from limner.cli.show import Screen, duration
from limner.errors import WorkFailedError
from limner.events import Events, Notice, Progress, Result
from limner.project import Project

NEW = ["--trigger", "grace_char", "--class-word", "woman", "--likeness", "synthetic"]


def limner(capsys: pytest.CaptureFixture[str], *args: str | Path) -> tuple[int, str, str]:
    """Run one command line in this process: exit code, stdout, stderr."""
    capsys.readouterr()
    code = cli.run([str(a) for a in args])
    out = capsys.readouterr()
    return code, out.out, out.err


def last_json(text: str) -> dict[str, Any]:
    found = json.loads(text.strip().splitlines()[-1])
    assert isinstance(found, dict)
    return found


@pytest.fixture
def grace(tmp_path: Path) -> Path:
    assert cli.run(["new", "grace", *NEW, "--dir", str(tmp_path / "grace")]) == 0
    return tmp_path / "grace"


def test_a_new_project_says_where_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my grace"
    code, out, err = limner(capsys, "new", "grace", *NEW, "--dir", folder, "--json")
    assert code == 0 and last_json(out)["root"] == str(folder) and err == ""
    code, out, err = limner(capsys, "-C", folder, "status", "--json")
    found = last_json(out)
    assert (code, err) == (0, "")
    assert [s["name"] for s in found["stages"]][:2] == ["shots", "sources"]
    assert {s["state"] for s in found["stages"]} == {"ready", "waiting"}
    assert found["next"] == f"limner -C '{folder}' shots plan"  # can be pasted as it stands
    code, out, _ = limner(capsys, "-C", folder, "status")
    assert code == 0 and "next: limner -C" in out


@pytest.mark.parametrize(
    "args",
    [
        ["statu"],
        ["status", "--nonsense"],
        ["new", "grace"],
        ["atelier", "sheet", "--size", "three"],
        ["atelier"],
        ["-C"],
        ["new", "grace", *NEW[:-1], "unknown", "--dir", "DIR"],
        ["new", "grace", "--trigger", "Two Words", *NEW[2:], "--dir", "DIR"],
        ["new", "x", *NEW[:-1], "consented_person", "--consent-evidence", "a.pdf", "--dir", "DIR"],
        ["-C", "DIR/none", "status"],
        ["-C", "DIR", "review"],
    ],
)
def test_wrong_use_is_exit_2_with_a_json_error(
    args: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [a.replace("DIR", str(tmp_path)) for a in args]
    code, out, err = (
        limner(capsys, *given, "--json") if args != ["-C"] else limner(capsys, "--json", "-C")
    )
    error = last_json(out)["error"]
    assert code == 2 == error["exit_code"] and error["what"] and err == ""
    code, out, err = limner(capsys, *given)
    assert code == 2 and out == "" and "error: " in err and "Traceback" not in err


def test_a_wrong_character_file_is_named_with_line_and_field(
    grace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert limner(capsys, "-C", grace, "status")[0] == 0
    file = grace / "character.yaml"
    text = file.read_text()
    line = 1 + text.splitlines().index("  seed: 1")
    file.write_text(text.replace("  seed: 1", "  seed: minus one"))
    for command in (["status"], ["generate"], ["plan"]):
        code, out, _ = limner(capsys, "-C", grace, *command, "--json")
        assert code == 2 and last_json(out)["error"]["where"] == f"{file}:{line}"
    file.write_text(text)
    assert limner(capsys, "-C", grace, "status")[0] == 0


def test_a_database_from_a_newer_limner_is_refused_and_left_alone(
    grace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(grace / "limner.db") as db:
        db.execute("PRAGMA user_version = 999")
    code, out, _ = limner(capsys, "-C", grace, "status", "--json")
    assert code == 3 and "newer Limner" in last_json(out)["error"]["what"]
    assert sqlite3.connect(grace / "limner.db").execute("PRAGMA user_version").fetchone() == (999,)


def test_a_file_that_is_no_database_is_an_error_not_a_traceback(
    grace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for leftover in grace.glob("limner.db*"):
        leftover.unlink()
    (grace / "limner.db").write_bytes(b"not a database " * 100)
    code, out, _ = limner(capsys, "-C", grace, "status", "--json")
    assert code == 3 and "not a database" in last_json(out)["error"]["what"]


def test_the_unforeseen_goes_to_a_log_without_secrets(
    grace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_KEY", "very-secret-value")

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("could not divide very-secret-value")

    monkeypatch.setattr("limner.pipeline.stages.status", broken)
    code, out, _ = limner(capsys, "-C", grace, "status", "--json")
    error = last_json(out)["error"]
    log = Path(error["where"])
    assert code == 3 and log.parent == grace / ".limner"
    assert "ZeroDivisionError" in log.read_text() and "Traceback" in log.read_text()
    assert "very-secret-value" not in log.read_text() + json.dumps(error)


def test_a_full_disk_is_said(
    grace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("limner.pipeline.stages.status", full)
    code, out, _ = limner(capsys, "-C", grace, "status", "--json")
    assert code == 3 and "disk is full" in last_json(out)["error"]["what"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_can_be_looked_at_but_not_worked_in(
    grace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limner(capsys, "-C", grace, "status")
    for path in [grace, *grace.iterdir()]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        assert limner(capsys, "-C", grace, "shots", "plan")[0] == 3
    finally:
        for path in [grace, *grace.iterdir()]:
            path.chmod(0o755 if path.is_dir() else 0o644)


def _work() -> Events:
    yield Notice("the first sentence")
    for n in range(1, 4):
        yield Progress("drawing", n, 3, eta=90.0 * (3 - n))
    yield Result({"made": 3})


def test_progress_is_lines_for_people_nothing_for_json_and_ndjson_on_wish(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Screen().run(_work()) == {"made": 3}
    plain = capsys.readouterr()
    assert plain.out == "" and plain.err.splitlines() == [
        "the first sentence",
        "drawing 1/3, about 3 min 00 s left",
        "drawing 3/3",  # 2/3 came within the pause between lines
    ]
    Screen(as_json=True).run(_work())
    assert capsys.readouterr() == ("", "")
    Screen(as_json=True, events=True).run(_work())
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [e["kind"] for e in events] == ["notice", *["progress"] * 3, "result"]
    assert events[1] == {
        **{"kind": "progress", "task": "drawing", "done": 1, "total": 3},
        **{"eta_s": 180.0, "note": ""},
    }


def test_bars_on_a_terminal_end_before_an_error_is_shown(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)

    def failing() -> Iterator[Any]:
        yield Progress("training", 10, 20, eta=75.0)
        raise WorkFailedError("The loss is not a number", where="step 10", fix="Lower the rate.")

    screen = Screen()
    with pytest.raises(WorkFailedError) as error:
        screen.run(failing())
    screen.error(error.value)
    shown = capsys.readouterr().err
    assert shown.index("training") < shown.index("error: The loss is not a number")
    assert "fix:   Lower the rate." in shown


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.2, "0 s"), (59.4, "59 s"), (125, "2 min 05 s"), (11400, "3 h 10 min")]
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_verdict_says_one_thing_a_line(
    grace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    headline = "Too close to call: step 300 at strength 0.8 drew the same person in 20 of 36."
    but = ["55.6 %, 95 % interval 38.1 to 72.1 %.", "A LoRA of another character was not tried."]
    said = {"statement": " ".join([headline, *but]), "sentence": headline, "reservations": but}
    data = {**said, "next": [{"says": "Draw more.", "command": "limner evaluate"}]}
    monkeypatch.setattr("limner.evaluation.verdict", lambda project: iter([Result(data)]))
    code, out, _ = limner(capsys, "-C", grace, "verdict")
    assert code == 0 and out.splitlines()[:4] == [headline, *but, ""]
    _, out, _ = limner(capsys, "-C", grace, "verdict", "--json")
    assert last_json(out)["statement"] == data["statement"] and len(out.splitlines()) == 1
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out, _ = limner(capsys, "-C", grace, "verdict")
    lines = out.splitlines()[: out.splitlines().index("")]
    assert all(len(line) <= 40 for line in lines) and lines[2] == but[0]
    assert " ".join(line.strip() for line in lines) == data["statement"]


def test_status_shows_a_running_stage_and_two_processes_do_not_collide(
    grace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom limner.project import Project\n"
        f"p = Project.open(Path({str(grace)!r}))\n"
        "with p.exclusive('training'):\n    print('held', flush=True)\n    time.sleep(30)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout and other.stdout.readline() == "held\n"
        found = last_json(limner(capsys, "-C", grace, "status", "--json")[1])
        assert {s["name"]: s["state"] for s in found["stages"]}["training"] == "running"
        assert found["next"] is None
    finally:
        other.kill()
        other.wait()
    found = last_json(limner(capsys, "-C", grace, "status", "--json")[1])
    assert found["next"], "a killed process leaves no lock"


def test_help_and_status_come_at_once(grace: Path) -> None:
    """bench/startup.py measures the wall; here, on a busy machine, the better of wall and CPU."""
    for args in (["--help"], ["-C", str(grace), "status"]):
        best = 9.0
        for _ in range(3):
            before = os.times()
            start = time.monotonic()
            run = [sys.executable, "-c", "from limner.cli import main; main()", *args]
            subprocess.run(run, check=True, capture_output=True)
            after = os.times()
            used = after.children_user + after.children_system
            used -= before.children_user + before.children_system
            best = min(best, used, time.monotonic() - start)
        assert best < 0.3


def test_the_project_opens_from_python_as_from_the_command_line(grace: Path) -> None:
    assert Project.open(grace).character.trigger == "grace_char"


def test_the_bare_command_helps_and_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert limner(capsys)[:2] == limner(capsys, "--help")[:2]
    code, out, _ = limner(capsys, "--version")
    assert code == 0 and out.startswith("limner ")


def test_ctrl_c_is_an_answer_too(
    grace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("limner.pipeline.stages.status", interrupted)
    code, out, err = limner(capsys, "-C", grace, "status", "--json")
    assert code == 130 == last_json(out)["error"]["exit_code"] and err == ""
    code, out, err = limner(capsys, "-C", grace, "status")
    assert code == 130 and out == "" and "go on" in err


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--control", "blank"], "--control"),
        (["--home", "x"], "--home"),
        (["--weights", "dit=x"], "--weights"),
        (["--with", "musubi", "--stop-after", "5"], "--stop-after"),
        (["--with", "ai-toolkit", "--stop"], "--stop"),
    ],
)
def test_no_training_starts_on_an_option_that_it_would_pass_over(
    grace: Path, capsys: pytest.CaptureFixture[str], args: list[str], word: str
) -> None:
    code, out, _ = limner(capsys, "-C", grace, "train", *args, "--json")
    error = last_json(out)["error"]
    assert code == 2 and error["what"].startswith(f"{word} means nothing") and error["fix"]


def test_an_unknown_trainer_is_said_of_the_option_that_named_it(
    grace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = limner(capsys, "-C", grace, "train", "--with", "nope", "--json")
    assert code == 2 and last_json(out)["error"]["where"] == "--with"


def test_a_wrong_path_is_said_as_what_it_is_with_a_way_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, junk = tmp_path / "dir.safetensors", tmp_path / "junk.txt"
    folder.mkdir()
    junk.write_bytes(bytes(range(128, 256)) * 8)
    missing = tmp_path / "missing"
    for args, word in [
        (["lora", "info", folder], "directory"),
        (["lora", "check", folder], "This is a folder"),
        (["lora", "convert", folder, "--to", "kohya"], "This is a folder"),
        (["lora", "info", missing], "No such file"),
        (["captions", "check", junk], "This is a file"),
        (["captions", "compile", "--file", junk, "--trigger", "grace_char"], "not UTF-8"),
        (["captions", "compile", "--file", folder, "--trigger", "grace_char"], "directory"),
        (["review", junk], "This is a file"),
        (["shots", "check", missing], "no such file"),
        (["shots", "check", folder], "This is a folder"),
    ]:
        code, out, err = limner(capsys, *args, "--json")
        error = last_json(out)["error"]
        assert code == 2 and err == "", args
        assert word in error["what"] and "codec" not in error["what"], (args, error)
        assert error["where"] and error["fix"], (args, error)


@pytest.mark.parametrize(
    "args",
    [
        ["release", "--public"],
        ["release", "--with-dataset"],
        ["release", "--sign-cert", "x.pem"],
        ["doctor", "--dry-run"],
        ["review", "--kind", "photo"],
    ],
)
def test_an_option_without_the_one_it_goes_with_is_refused(
    grace: Path, capsys: pytest.CaptureFixture[str], args: list[str]
) -> None:
    code, out, _ = limner(capsys, "-C", grace, *args, "--json")
    error = last_json(out)["error"]
    assert code == 2 and args[1] in error["what"] and error["fix"]


def test_what_would_be_about_nothing_is_refused(
    grace: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, out, _ = limner(capsys, "-C", tmp_path / "nowhere", "doctor", "--json")
    assert code == 2 and "no such folder" in last_json(out)["error"]["what"]
    assert limner(capsys, "-C", grace, "shots", "plan")[0] == 0
    text = tmp_path / "map.txt"
    code, out, _ = limner(capsys, "-C", grace, "shots", "check", "--heatmap", text, "--json")
    assert code == 2 and "map.png" in last_json(out)["error"]["fix"] and not text.exists()


def test_an_archive_says_which_recorded_pictures_are_gone(
    grace: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    here = Project.open(grace)
    assert limner(capsys, "-C", grace, "shots", "plan")[0] == 0
    assert limner(capsys, "-C", grace, "generate", "--limit", "1", "--workers", "1")[0] == 0
    (take,) = here.store.takes(state="done")
    assert take.path
    out = tmp_path / "a.limner.zip"
    found = last_json(limner(capsys, "-C", grace, "archive", "--out", out, "--json")[1])
    assert found["missing"] == []
    here.path(take.path).unlink()
    code, text, err = limner(capsys, "-C", grace, "archive", "--out", out)
    assert code == 0 and "files are gone" in text + err and take.path in text + err
    found = last_json(limner(capsys, "-C", grace, "archive", "--out", out, "--json")[1])
    assert found["missing"] == [take.path]
