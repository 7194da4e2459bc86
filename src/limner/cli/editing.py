"""Commands on captions, in a project or in any folder: check, fix, edit, undo, history, waive."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from limner.cli.making import captions_app
from limner.cli.shell import command, project
from limner.cli.show import Answer

if TYPE_CHECKING:
    from limner.captions.audit import Audit
    from limner.captions.edits import Edit
    from limner.captions.folder import Sheet

Folder = Annotated[
    Path | None, typer.Argument(help="Folder with captions; without it: this project")
]
InFolder = Annotated[
    Path | None, typer.Option("--in", help="Folder with captions; without it: this project")
]
Trigger = Annotated[
    str | None, typer.Option("--trigger", help="The trigger word; a project has its own")
]
ClassWord = Annotated[str | None, typer.Option("--class-word", help="A class word that may stand")]
Constant = Annotated[
    list[str] | None,
    typer.Option(
        "--constant",
        metavar="TRAIT=POLICY",
        help="hair_style=vary, glasses=fuse, 'red scarf=fuse'; fuse, vary, ignore or sometimes",
    ),
]
Ids = Annotated[list[str] | None, typer.Option("--id", help="Finding by its id; can be repeated")]
Rules = Annotated[
    list[str] | None, typer.Option("--rule", help="Findings of a rule, e.g. 'encoding_*'")
]
Only = Annotated[str, typer.Option("--file", help="Only captions like this, with * and ?")]
Apply = Annotated[bool, typer.Option("--apply", help="Write it; without this, show what would")]


def _sheet(folder: Path | None, *, to_write: bool = False) -> Sheet:
    """The captions; `to_write`: with hand edits recorded and a step cut short finished first."""
    from limner.captions import steps
    from limner.captions.folder import open_sheet

    sheet = open_sheet(project() if folder is None else folder)
    return steps.ready(sheet) if to_write else sheet


def _examine(
    sheet: Sheet,
    trigger: str | None,
    class_word: str | None,
    constant: list[str] | None,
    ask: int = 0,
) -> Audit:
    from limner.captions.audit import examine
    from limner.errors import UsageError

    constants = {}
    for said in constant or ():
        name, equals, policy = said.rpartition("=")
        if not equals or not name.strip():
            raise UsageError(
                f"--constant {said}: no TRAIT=POLICY", fix="For example: --constant glasses=fuse"
            )
        constants[name.strip()] = policy.strip()
    given: dict[str, Any] = {"trigger": trigger, "class_word": class_word, "constants": constants}
    if not ask:
        return examine(sheet, **given)
    from limner.captions.asking import looking
    from limner.llm import Client, find_endpoint

    with Client(find_endpoint()) as client:
        return examine(sheet, **given, look=looking(client), asked=ask)


@command(captions_app, "check")
def check(
    folder: Folder = None,
    trigger: Trigger = None,
    class_word: ClassWord = None,
    constant: Constant = None,
    ask: Annotated[
        int,
        typer.Option(
            "--ask",
            min=0,
            max=200,
            metavar="N",
            help="Ask the model at LIMNER_LLM_URL about N pictures of each fused phrase",
        ),
    ] = 0,
    page: Annotated[
        Path | None, typer.Option("--page", help="Write the findings as one HTML page as well")
    ] = None,
) -> Answer:
    """Check captions: trigger, fused phrases, identity leaks, contradictions, encoding, doubles."""
    sheet = _sheet(folder)
    audit = _examine(sheet, trigger, class_word, constant, ask)
    lines = [] if audit.active else [f"captions: nothing found in {audit.captions}"]
    for finding in audit.active:
        one = finding.as_json()
        lines.append(f"{one['severity']}: {one['text']}  ({one['file']})")
        lines.append(f"  {one['rule']} {one['id']}  fix: {one['fix']}")
    for finding in audit.waived:
        one = finding.as_json()
        lines.append(f"waived: {one['text']}  ({one['file']}): {finding.waived}")
    lines += [f"not measured: {u['what']}: {u['why']}. {u['way']}" for u in audit.unmeasured]
    if mendable := sum(bool(f.mends) for f in audit.active):
        lines += [
            "",
            f"{mendable} of {len(audit.active)} can be mended by rule; the diff first, then "
            f"--apply: {audit.fix_command(folder)}",
        ]
    data = audit.as_json()
    if page is not None:
        from limner.captions.page import write_page

        data["page"] = str(write_page(sheet, audit, page, folder=folder))
        lines.append(f"page: {page}")
    return Answer(data, lines, findings=bool(audit.active))


def _shown(sheet: Sheet, edits: list[Edit], what: str, apply: bool) -> Answer:
    """Show the edits; write them as one step when asked."""
    from limner.captions import steps
    from limner.captions.edits import changes

    lines = [line for edit in edits for line in edit.lines()]
    data: dict[str, Any] = {"changes": [e.as_json() for e in edits], "applied": False}
    if not edits:
        return Answer(data, ["nothing to change"])
    if not apply:
        return Answer(data, [*lines, "", f"{len(edits)} captions; --apply writes them"])
    step = steps.apply(sheet, changes(edits), what)
    if step is None:
        return Answer(data, ["nothing to change"])
    data |= {"applied": True, "step": step.number}
    return Answer(data, [*lines, "", f"step {step.number}: {len(edits)} captions written"])


@command(captions_app, "fix")
def fix(
    folder: Folder = None,
    ids: Ids = None,
    rule: Rules = None,
    file: Only = "*",
    trigger: Trigger = None,
    class_word: ClassWord = None,
    constant: Constant = None,
    apply: Apply = False,
) -> Answer:
    """Mend findings of the check: shows the diff first; --apply writes it as one step."""
    from limner.captions import edits

    sheet = _sheet(folder, to_write=apply)
    audit = _examine(sheet, trigger, class_word, constant)
    wanted = edits.pick(audit.active, ids or (), rule or (), file)
    rules = ", ".join(sorted({f.rule for f in wanted if f.mends}))
    answer = _shown(sheet, edits.mend(sheet, wanted), f"fix of {rules}", apply)
    by_hand = [f.as_json() for f in wanted if not f.mends]
    answer.data["by_hand"] = by_hand
    answer.lines.extend(f"by hand: {f['text']}  ({f['file']}): {f['fix']}" for f in by_hand)
    return answer


@command(captions_app, "edit")
def edit(
    folder: Folder = None,
    find: Annotated[str, typer.Option("--find", help="Pattern to find (regular expression)")] = "",
    replace: Annotated[
        str, typer.Option("--replace", help=r"What stands there instead; \1 is the first group")
    ] = "",
    plain: Annotated[bool, typer.Option("--plain", help="Find the words as they stand")] = False,
    ignore_case: Annotated[
        bool, typer.Option("--ignore-case", help="Upper and lower case are one")
    ] = False,
    file: Only = "*",
    text: Annotated[
        str | None, typer.Option("--text", help="Set the caption of --file to this")
    ] = None,
    apply: Apply = False,
) -> Answer:
    """Find and replace in all captions, or set one; shows the diff first, --apply writes it."""
    from limner.captions import edits
    from limner.errors import UsageError

    sheet = _sheet(folder, to_write=apply)
    if text is None:
        found = edits.find_replace(
            sheet, find, replace, regex=not plain, ignore_case=ignore_case, only=file
        )
        return _shown(sheet, found, f'replaced "{find}" by "{replace}"', apply)
    if find:
        raise UsageError("--find and --text exclude each other", fix="Give one of them.")
    if file == "*":
        raise UsageError("Which caption?", fix="Name it with --file.")
    return _shown(sheet, edits.set_text(sheet, file, text), f"set {file} by hand", apply)


@command(captions_app, "undo")
def undo(
    steps: Annotated[
        list[int], typer.Argument(help="Step numbers, as `captions history` shows them")
    ],
    folder: InFolder = None,
) -> Answer:
    """Take back any steps, not only the last; an undo is a step too and can be taken back."""
    from limner.captions import steps as journal

    done = journal.undo(_sheet(folder), steps)
    lines = [f"step {s.number}: {s.what} ({len(s.changes)} captions)" for s in done]
    return Answer({"steps": [s.as_json() for s in done]}, lines)


@command(captions_app, "history")
def history(
    caption: Annotated[
        str | None, typer.Argument(help="A caption or its picture; without it: all steps")
    ] = None,
    folder: InFolder = None,
) -> Answer:
    """Every step, or every text of one caption with its author (rule, model, person)."""
    from limner.captions import edits, steps
    from limner.captions.findings import printable

    sheet = _sheet(folder)
    if caption is not None:
        key = edits.find_item(sheet, caption).key
        rows = steps.history(sheet, key)
        lines = []
        for row in rows:
            by = f"step {row['step']}: {row['what']}" if row["step"] else row["what"]
            lines += [f"{row['at'] or '-'}  {row['author']}  {by}", f"  {row['text']}"]
        return Answer({"file": printable(key), "texts": rows}, lines)
    found = steps.steps(sheet)
    active = steps.standing(found)
    lines = [
        f"{s.number:>4}  {s.at}  {s.author}  {s.what} ({len(s.changes)} captions)"
        f"{'' if s.number in active else '  [taken back]'}"
        for s in found
    ]
    data = [{**s.as_json(), "taken_back": s.number not in active} for s in found]
    return Answer({"steps": data}, lines or ["no step yet"])


@command(captions_app, "waive")
def waive(
    reason: Annotated[str, typer.Option("--reason", help="Why it is accepted")],
    folder: Folder = None,
    ids: Ids = None,
    rule: Rules = None,
    file: Only = "*",
    trigger: Trigger = None,
    class_word: ClassWord = None,
    constant: Constant = None,
) -> Answer:
    """Accept findings with a reason: they show as waived and no longer count; `undo` takes back."""
    from limner.captions import edits, steps
    from limner.errors import UsageError

    if not ids and not rule:
        raise UsageError("Which findings?", fix="Name them with --id or --rule.")
    sheet = _sheet(folder)
    audit = _examine(sheet, trigger, class_word, constant)
    wanted = edits.pick(audit.active, ids or (), rule or (), file)
    if not wanted:
        raise UsageError("No finding is meant by that", fix="See `limner captions check`.")
    entries = [{"id": f.id, "rule": f.rule, "file": f.file, "subject": f.subject} for f in wanted]
    step = steps.waive(sheet, entries, reason)
    lines = [f"step {step.number}: {len(entries)} findings waived"]
    return Answer({"step": step.number, "waived": [f.id for f in wanted]}, lines)
