"""Commands on sets of prompts, a project's or any file's: import, check, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.making import shots_app
from limner.cli.shell import command, project, root, screen
from limner.cli.show import Answer
from limner.errors import NotAProjectError

if TYPE_CHECKING:
    from limner.project import Project
    from limner.shots import Wanted

Trigger = Annotated[str | None, typer.Option(help="The trigger word  [default: found in the text]")]
ClassWord = Annotated[str | None, typer.Option(help="woman, man, person: allowed in the text")]
Preset = Annotated[str | None, typer.Option(help="Shares to hold it against: seed or portrait")]
Quota = Annotated[
    list[str] | None,
    typer.Option(
        metavar="AXIS:VALUE=PERCENT,...",
        help="Shares of an axis, e.g. angle:front=50,side=20; can be repeated",
    ),
]
DialectName = Annotated[
    str | None, typer.Option(help="Whom prompts speak to: inbox, higgsfield, comfyui, diffusers")
]
HeatMap = Annotated[
    Path | None, typer.Option("--heatmap", help="Write angle x expression as a PNG here")
]


@command(shots_app, "import")
def shots_import(
    file: Annotated[Path, typer.Argument(help="List, CSV, JSON, JSONL or DOMAIN text of prompts")],
    fill: Annotated[bool, typer.Option("--fill", help="Plan the shots that are missing")] = False,
    count: Annotated[
        int | None, typer.Option("-n", "--count", help="Prompts the whole set shall have")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="In a project: show what was read, write nothing")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="In a project: replace the plan that is there")
    ] = False,
    trigger: Trigger = None,
    class_word: ClassWord = None,
    preset: Preset = None,
    quota: Quota = None,
    dialect: DialectName = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the planned shots")] = None,
) -> Answer:
    """Take in prompts that exist: read their attributes, show the gaps, plan what is missing.

    In a project they become its shots; elsewhere, and with --show, nothing is written.
    """
    from limner import shots

    here = _project()
    given = {
        **{"count": count, "trigger": trigger, "class_word": class_word, "preset": preset},
        **{"dialect": dialect, "seed": seed, "quotas": shots.parse_quotas(quota or []) or None},
    }
    wanted = _wanted(here, given)
    if here is None or show:
        found = shots.gather(file, wanted, fill=fill)
        return Answer(found, _import_lines(found))
    from limner.pipeline import import_shots

    found = screen().run(import_shots(here, file, fill=fill, replace=replace))
    lines = [f"{found['imported']} prompts taken in, {found['planned']} planned beside them"]
    return Answer(found, [*lines, f"prompts: {found['prompts']}", *_gap_lines(found["gaps"])])


@command(shots_app, "check")
def shots_check(
    file: Annotated[
        Path | None, typer.Argument(help="File of prompts; without it, the project's plan")
    ] = None,
    trigger: Trigger = None,
    class_word: ClassWord = None,
    preset: Preset = None,
    quota: Quota = None,
    dialect: DialectName = None,
    heat_map: HeatMap = None,
) -> Answer:
    """Check prompts: shares, near-duplicates, constants, contradictions, missing parts."""
    from limner import shots

    if file is None:
        checked = shots.check_plan(project())
    else:
        here = _project()
        given = {
            **{"trigger": trigger, "class_word": class_word, "preset": preset},
            **{"dialect": dialect, "quotas": shots.parse_quotas(quota or []) or None},
        }
        checked = shots.check_file(file, _wanted(here, given))
    if heat_map is not None:
        checked.write_heat_map(heat_map)
    data = checked.as_dict()
    lines = [line for found in checked.findings for line in _finding_lines(found)]
    lines += ["", *checked.heat_map(), "", _summary(data)]
    if heat_map is not None:
        data["heat_map_file"] = str(heat_map)
        lines.append(f"heat map: {heat_map}")
    return Answer(data, lines, findings=bool(checked.findings))


@command(shots_app, "export")
def shots_export(
    kind: Annotated[
        str, typer.Option(help="txt (for the clipboard, by domain), json, csv or mapping")
    ] = "txt",
    dialect: DialectName = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file instead")] = None,
) -> Answer:
    """Write the shots as a file for other tools; `mapping` says which picture is which prompt."""
    from limner import shots

    path = shots.export(project(), kind, dialect=dialect, out=out)
    return Answer({"path": str(path), "kind": kind}, [f"wrote {path}"])


@command(shots_app, "rewrite")
def shots_rewrite(
    url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible endpoint; else LIMNER_LLM_URL")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model name; else LIMNER_LLM_MODEL")] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Show the request of the first prompt, send nothing")
    ] = False,
) -> Answer:
    """Let a language model word the prompts anew; a text that fails the check is not taken.

    Every planned attribute must still be there and no constant may have crept in.
    """
    from limner.llm import Client, find_endpoint
    from limner.shots import rewriting
    from limner.shots.stage import dialect_for, planned

    here = project()
    if show:
        from limner.shots.dialects import dialect_of

        speech = dialect_of(dialect_for(here))
        asked = rewriting.request_for(planned(here)[0].prompt, here.character.trigger, speech)
        return Answer({"messages": asked}, [f"{m['role']}: {m['content']}" for m in asked])
    with Client(find_endpoint(url, model)) as client:
        found = screen().run(rewriting.rewrite_plan(here, client))
    lines = [f"{found['rewritten']} of {found['asked']} prompts worded anew"]
    lines += [f"{row['shot']} keeps our text: {'; '.join(row['refused'])}" for row in found["kept"]]
    return Answer(found, lines, findings=bool(found["kept"]))


def _project() -> Project | None:
    """The project to work in; None outside of one."""
    from limner import shots
    from limner.project import Project

    try:
        here = Project.open(root())
    except NotAProjectError:
        return None
    _ = here.character  # a wrong file is said before any work
    shots.learn(here)
    return here


def _wanted(here: Project | None, given: dict[str, Any]) -> Wanted:
    """What a set is held against: the project's character.yaml, changed by options."""
    from dataclasses import replace

    from limner import shots

    base = shots.Wanted() if here is None else shots.wanted_by(here)
    if given.get("preset") or given.get("quotas"):
        base = replace(base, source="options")
    return replace(base, **{k: v for k, v in given.items() if v is not None})


def _finding_lines(found: dict[str, str]) -> list[str]:
    return [
        f"{found['severity']}: {found['where']}: {found['text']}  [{found['rule']}]",
        f"  fix: {found['fix']}",
    ]


def _summary(data: dict[str, Any]) -> str:
    rules: dict[str, int] = {}
    for found in data["findings"]:
        rules[found["rule"]] = rules.get(found["rule"], 0) + 1
    told = ", ".join(f"{n} x {rule}" for rule, n in sorted(rules.items())) or "nothing found"
    return f"{data['count']} prompts, held against {data['held_against']}: {told}"


def _import_lines(found: dict[str, Any]) -> list[str]:
    lines = [f"{found['count']} prompts read as {found['kind']}"]
    silent = {axis: n for axis, n in found["not_known"].items() if n}
    if silent:
        lines.append(
            "not said, or in words of their own: "
            + ", ".join(f"{axis} in {n}" for axis, n in silent.items())
        )
    lines += ["", *found["heat_map"], "", *_gap_lines(found["gaps"])]
    if found["missing"]:
        lines.append(f"{found['missing']} of {found['asked']} are missing")
    for shot in found["planned"]:
        lines += [f"{shot['id']} (planned):", shot["prompt"], ""]
    return [*lines, *found["notes"]]


def _gap_lines(gaps: dict[str, dict[str, dict[str, int]]]) -> list[str]:
    lines = []
    for axis, rows in gaps.items():
        off = [
            f"{value} {row['got']} of {row['asked']}"
            for value, row in rows.items()
            if row["missing"] or row["too_many"]
        ]
        if off:
            lines.append(f"{axis}: {', '.join(off)}")
    return ["gaps:", *lines] if lines else ["gaps: none"]
