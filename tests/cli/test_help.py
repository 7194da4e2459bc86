"""Help, wrong use and the next step, as somebody meets them who has never seen Limner."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import typer

from limner.cli import shell as cli
from limner.cli.examples import EXAMPLES
from limner.cli.help import SECTIONS

NEW = ["--trigger", "grace_char", "--class-word", "woman", "--likeness", "synthetic"]


def tree() -> Any:
    cli.load_commands()
    return typer.main.get_command(cli.app)


def leaves(command: Any, path: str = "") -> dict[str, Any]:
    if not hasattr(command, "commands"):
        return {path.strip(): command}
    found: dict[str, Any] = {}
    for name, child in command.commands.items():
        found |= leaves(child, f"{path} {name}")
    return found


def test_every_command_stands_in_a_section_and_has_an_example() -> None:
    named = [name for _, names in SECTIONS for name in names]
    assert sorted(named) == sorted(tree().commands)
    assert set(EXAMPLES) == set(leaves(tree()))


@pytest.mark.parametrize("line", [line for lines in EXAMPLES.values() for line in lines])
def test_every_example_is_a_line_that_limner_reads(line: str) -> None:
    words = shlex.split(line)[1:]
    words = words[2:] if words[0] == "-C" else words
    command = tree()
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("limner", words)  # raises on an option or a value that there is not


def test_wrong_use_names_all_that_is_missing_and_shows_a_line_that_works(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert cli.run(["new", "grace"]) == 2
    said = capsys.readouterr().err
    assert all(name in said for name in ("--trigger", "--class-word", "--likeness"))
    assert "limner new grace --trigger" in said and "NAME" not in said
    assert cli.run(["new", "grace", "--trigger", "Two Words", *NEW[2:]]) == 2
    assert "lower-case letters" in capsys.readouterr().err
    assert cli.run(["shots"]) == 2
    assert "plan, check, import" in capsys.readouterr().err
    assert cli.run(["generate", "--limit", "x"]) == 2
    assert "no whole number" in capsys.readouterr().err
    assert cli.run(["help", "generate"]) == 0
    said = capsys.readouterr().out
    assert "--limit N" in said and "Examples:" in said and "range>" not in said


def test_commands_that_move_a_project_end_with_the_one_next_action(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "my grace"
    assert cli.run(["new", "grace", *NEW, "--dir", str(folder)]) == 0
    text = (folder / "character.yaml").read_text()
    (folder / "character.yaml").write_text(text.replace("count: 40", "count: 8"))
    assert cli.run(["-C", str(folder), "review"]) == 2
    assert f"`limner -C '{folder}' generate`" in capsys.readouterr().err  # can be pasted
    assert cli.run(["-C", str(folder), "shots", "plan"]) == 0
    assert f"next: limner -C '{folder}' generate" in capsys.readouterr().err
    assert cli.run(["-C", str(folder), "shots", "plan", "--replace", "--json"]) == 0
    assert capsys.readouterr().err == ""
    out = str(tmp_path / "grace.limner.zip")
    assert cli.run(["-C", str(folder), "archive", "--out", out]) == 0
    assert "next:" not in capsys.readouterr().err  # of a finished project it would be itself
