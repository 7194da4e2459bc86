"""Commands that advise, publish and prove: advise, release, report, archive, verify."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from limner.cli.shell import app, command, here, project, root, screen
from limner.cli.show import Answer, findings_answer
from limner.errors import UsageError, WorkFailedError

MARKS = {"found": "found", "not found": "no", "insufficient evidence": "not known"}


@command(app, "advise")
def advise(
    ask: Annotated[
        str | None, typer.Option(help="Answer a question from the project's facts and the manual")
    ] = None,
    llm_url: Annotated[
        str, typer.Option("--llm-url", help="Your chat endpoint  [default: LIMNER_LLM_URL]")
    ] = "",
    llm_model: Annotated[
        str, typer.Option("--llm-model", help="Its model  [default: LIMNER_LLM_MODEL]")
    ] = "",
    apply: Annotated[
        str, typer.Option(help="Write a remedy's settings to character.yaml, e.g. overfit.steps")
    ] = "",
) -> Answer:
    """Say what is wrong, on what evidence, and what to change first; or that it is not known."""
    from limner import advice
    from limner.pipeline.advising import advise as look

    if apply:
        done = advice.apply(project(), apply)
        lines = [f"{done['id']}: {done['size']}", f"written to {done['project']}/character.yaml"]
        if done["symptom"] in ("not found", "insufficient evidence"):
            lines.append(
                f"you asked for it, not the measures: {done['symptom']} by `limner advise`"
            )
        if Path(done["project"]) != project().root.resolve():
            lines.append("its verdict is compared with this one by `limner verdict --against`")
        return Answer(done, lines)
    if ask is not None and not ask.strip():
        raise UsageError("The question is empty", where="limner advise --ask")
    data = _pasteable(look(project()))
    if ask:
        said = advice.answer(data, ask, _endpoint(llm_url, llm_model))
        shown = Answer({**data, "asked": said}, _answer_lines(said))
        if not said["failed"]:
            return shown
        screen().answer(shown)  # the rules answered, but whom the user asked did not
        raise typer.Exit(WorkFailedError.exit_code)
    return Answer(data, _advice_lines(data))


def _endpoint(url: str, model: str) -> Any:
    """The user's endpoint; None when none is set."""
    from limner.llm import find_endpoint

    try:
        return find_endpoint(url or None, model or None)
    except UsageError:
        if url:
            raise
        return None


def _answer_lines(said: dict[str, Any]) -> list[str]:
    lines = [said["answer"], "", f"answered by: {said['by']}"]
    lines += [f"  fact: {f['text']}  ({f['source']})" for f in said["facts"]]
    lines += [f"  manual: {place}" for place in said["manual"]]
    return [*lines, said["note"]] if said["note"] else lines


def _advice_lines(data: dict[str, Any]) -> list[str]:
    lines = []
    for symptom in data["symptoms"]:
        lines.append(f"{MARKS[symptom['state']]:<10} {symptom['name']}: {symptom['signs']}")
        if symptom["state"] == "insufficient evidence":
            lines += [f"             {m['what']}: {m['reason']}" for m in symptom["missing"][:2]]
        if symptom["state"] != "found":
            lines += [f"             risk: {f['text']}" for f in _risks(symptom)]
            continue
        lines += _found_lines(symptom)
    lines += ["", *(v["words"] for v in data["versions"])]
    first = data["next"]
    if first:
        return [*lines, f"next: {first['command'] or first['says']}"]
    unknown = len(data["insufficient"])
    if unknown == len(data["symptoms"]):
        return [*lines, "next: limner status", "      Nothing can be said yet: go on, ask again."]
    of = f"; {unknown} of {len(data['symptoms'])} are not known" if unknown else ""
    return [*lines, "next: limner status", f"      Nothing is found that wants a change{of}."]


def _risks(symptom: dict[str, Any]) -> list[dict[str, Any]]:
    """Facts that would explain a symptom and hold, though the symptom itself was not found."""
    return [fact for fact in symptom["evidence"] if fact["holds"]]


def _pasteable(node: Any) -> Any:
    """Advice with every command as it is typed where one stands, for people and programs alike."""
    if isinstance(node, list):
        return [_pasteable(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: here(_from_here(value))
        if key in ("command", "how") and isinstance(value, str)
        else _pasteable(value)
        for key, value in node.items()
    }


def _from_here(command: str) -> str:
    """A command whose `-C ../NAME` is meant from the project, as it is typed where one stands."""
    if root() == Path():
        return command

    def place(found: re.Match[str]) -> str:
        return f"-C {shlex.quote(os.path.normpath(root() / (found[1] or found[2])))}"

    return re.sub(r"-C (?:'(\.\./[^']+)'|(\.\./\S+))", place, command)


def _found_lines(symptom: dict[str, Any]) -> list[str]:
    lines = []
    for fact in symptom["evidence"]:
        if fact["holds"]:
            lines.append(f"             {fact['text']}")
            lines += [f"               {path}" for path in fact["pictures"]]
    lines.append(f"           cause: {symptom['cause']}")
    for number, step in enumerate(symptom["remedies"], 1):
        size = f" ({step['size']})" if step["size"] else ""
        lines.append(f"           {number}. {step['says']}{size}; {step['cost']}  [{step['tag']}]")
        if step["command"]:
            lines.append(f"              {step['command']}")
    return lines


Out = Annotated[Path | None, typer.Option(help="Where to write it")]


@command(app, "release")
def release(
    out: Out = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Release although the verdict is not `the same person`, or does not cover it",
        ),
    ] = False,
    checkpoint: Annotated[
        str,
        typer.Option(help="Release this one (step_000300, or 300), tied with the verdict's choice"),
    ] = "",
    strength: Annotated[
        float | None,
        typer.Option(help="Of --checkpoint, above 0, at most 2  [default: the verdict's, if tied]"),
    ] = None,
    civitai: Annotated[
        bool | None,
        typer.Option(
            "--civitai/--no-civitai",
            help="Civitai's upload kit  [default: for a synthetic character]",
            show_default=False,
        ),
    ] = None,
    dataset: Annotated[
        bool, typer.Option("--dataset/--no-dataset", help="Add the training pictures as a zip")
    ] = True,
    sign_cert: Annotated[
        Path | None, typer.Option(help="PEM certificate chain to sign the previews with (C2PA)")
    ] = None,
    sign_key: Annotated[Path | None, typer.Option(help="Its PKCS 8 key, ES256")] = None,
    push_hf: Annotated[
        str, typer.Option(help="Send the release to OWNER/NAME on the Hugging Face Hub")
    ] = "",
    public: Annotated[
        bool, typer.Option("--public", help="With --push-hf: a repository everybody can see")
    ] = False,
    with_dataset: Annotated[
        bool, typer.Option("--with-dataset", help="With --push-hf: send the training pictures too")
    ] = False,
) -> Answer:
    """Bundle the LoRA of the verdict with guide, card, workflow, kit and report; send it.

    With --push-hf a release of the newest verdict that stands already is sent as it is, if it holds
    the verdict's checkpoint, or the one of --checkpoint.
    """
    from limner import release as stage
    from limner.pipeline import wiring
    from limner.project.settings import MOST_STRENGTH

    here = project()
    if bool(sign_cert) != bool(sign_key):
        raise UsageError(
            "Signing needs --sign-cert and --sign-key",
            where="limner release",
            fix="Give both, or neither.",
        )
    if (public or with_dataset) and not push_hf:
        raise UsageError(
            f"{'--public' if public else '--with-dataset'} goes with --push-hf",
            where="limner release",
            fix="Add --push-hf OWNER/NAME, or leave it out.",
        )
    if strength is not None and not checkpoint:
        raise UsageError(
            "--strength goes with --checkpoint",
            where="limner release",
            fix="Add --checkpoint NAME; `limner verdict --json` lists the tied ones.",
        )
    if strength is not None and not 0 < strength <= MOST_STRENGTH:  # nan as well
        raise UsageError(
            f"{strength:g} is no strength",
            where="limner release --strength",
            fix=f"Give a number above 0 and up to {MOST_STRENGTH:g}.",
        )
    pick = stage.Pick(checkpoint, strength) if checkpoint else None
    signature = stage.Signature(sign_cert, sign_key) if sign_cert and sign_key else None
    as_made = out is None and not force and signature is None and civitai is None
    found = stage.standing(here, pick, repository=push_hf) if push_hf and as_made else None
    if found is None:
        making = wiring.release(
            here,
            out=out,
            force=force,
            civitai=civitai,
            dataset=dataset,
            signature=signature,
            pick=pick,
        )
        found = screen().run(making)
    lines = [f"release: {found['path']}"]
    if push_hf:
        folder = here.root / found["path"]
        pushed = screen().run(
            stage.push(here, folder, push_hf, private=not public, with_dataset=with_dataset)
        )
        found = {**found, "pushed": pushed}
        lines.append(f"pushed: {pushed['url']}")
    return Answer(found, lines)


@command(app, "report")
def report(out: Out = None) -> Answer:
    """Write the project's report: one HTML file that opens without a network."""
    from limner import release as stage

    path = stage.report(project(), out)
    return Answer({"report": str(path)}, [f"report: {path}"])


@command(app, "archive")
def archive(
    out: Annotated[
        Path | None, typer.Option(help="File to write  [default: ./NAME.limner.zip]")
    ] = None,
) -> Answer:
    """Pack pictures, captions, settings, lock and verdict into one verifiable file."""
    from limner.pipeline import wiring

    here = project()
    target = out or Path(f"{here.root.resolve().name}.limner.zip")
    found = screen().run(wiring.archive(here, target))
    return Answer(found, [f"archive: {found['path']}"])


@command(app, "verify")
def verify(
    path: Annotated[
        Path | None,
        typer.Argument(help="Release folder, LoRA, archive or project  [default: this project]"),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--project", help="Hold it against this project too, every link made again"),
    ] = None,
) -> Answer:
    """Check a release, a LoRA, an archive or a project against its own SHA-256 sums."""
    from limner import release as stage
    from limner.project import Project

    target = path or root()
    if not target.exists():
        raise UsageError("There is no such file", where=str(target), fix="Check the path.")
    origin = Project.open(against) if against else None
    found = stage.verify(target, origin)
    answer = findings_answer(found, f"{target}: complete and unchanged")
    unsealed = target.is_file() and [one["rule"] for one in found] == ["seal"]
    if unsealed:
        answer.lines.append("It may be whole all the same: `limner release` seals what it makes.")
    elif answer.findings and not (target / "character.yaml").is_file():
        answer.lines.append("Do not use it: fetch it whole again, or make it anew in its project.")
    return answer
