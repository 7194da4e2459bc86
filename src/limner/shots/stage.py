"""The stage: a project's plan, its check and its exports.

In: a `Project`. Out: shots in the store and `shots/prompts.txt`; findings; files to hand on.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from limner import lexicon
from limner.errors import NotReadyError, UsageError
from limner.events import Events, Notice, Progress, Result
from limner.lexicon.constants import find_constants
from limner.project import Project
from limner.project.files import write_json, write_text
from limner.project.records import Shot
from limner.shots.dialects import DIALECTS
from limner.shots.listing import by_domain, exported, table
from limner.shots.planner import make_plan, make_targets
from limner.shots.quotas import REST
from limner.shots.replanning import AGAIN, replan_shots
from limner.shots.report import associations, column, counts, needed_distinct, shared_runs
from limner.shots.rules import rules_for, threshold, wear_of
from limner.shots.signature import Signature, with_signature

EXPORTS = ("txt", "json", "csv")
_NEGATION = re.compile(r"\b(?:no|not|without|never|avoid|don't)\b", re.IGNORECASE)

Finding = dict[str, str]


def plan(
    project: Project,
    *,
    abilities: Mapping[str, Sequence[str]] | None = None,
    replace: bool = False,
) -> Events:
    """Plan the project's shots from character.yaml and write them with shots/prompts.txt.

    abilities: axis -> ids that the source can make (None = everything). Own words come from the
    project's vocabulary/. An equal plan is left as it is. Raises UsageError when another plan is
    there (replace=True plans anew while no take exists).
    Result: {count, changed, prompts, report}.
    """
    character = project.character
    settings = character.shots
    learn(project)
    with project.exclusive("shots"):
        yield Progress("planning", 0, settings.count)
        made = make_plan(
            count=settings.count,
            seed=settings.seed,
            preset=settings.preset,
            quotas=settings.quotas,
            abilities=abilities,
            genres=settings.genres,
            signature=signature_of(project),
            trigger=character.trigger,
            class_word=character.class_word,
            thresholds=settings.thresholds,
            dialect=dialect_for(project),
        )
        yield Progress("planning", settings.count, settings.count)
        changed = _store(project, made.shots, replace=replace)
        for note in made.report["notes"]:
            yield Notice(note, "warning")
        _write_files(project, made.report)
        project.store.log("shots", "planned", count=len(made.shots), changed=changed)
    if changed:
        yield Notice(_summary(made.report))
    else:
        yield Notice("The plan is as it was; nothing changed.")
    value = {"count": len(made.shots), "changed": changed, "prompts": "shots/prompts.txt"}
    yield Result({**value, "report": made.report})


def learn(project: Project) -> dict[str, int]:
    """Know the project's own words from now on; axis -> how many (see `lexicon.learn`)."""
    return lexicon.learn(project.root / lexicon.OWN_FOLDER)


def signature_of(project: Project) -> dict[str, Signature]:
    """The character's signature outfits by tag."""
    own = project.character.shots.signature
    return {tag: Signature(entry.outfit, entry.shots) for tag, entry in own.items()}


def dialect_for(project: Project) -> str:
    """The dialect of the project's source; sources without one are spoken to as the guide does."""
    name = project.character.source.name
    return name if name in DIALECTS else "inbox"


def replan(
    project: Project,
    ids: Sequence[str],
    *,
    abilities: Mapping[str, Sequence[str]] | None = None,
) -> Events:
    """Plan shots anew in their own cells (see `replan_shots`); every other shot stays as it is.

    Raises UsageError for a shot with a take that is not rejected: its picture shows the old plan.
    Result: {replanned, prompts}.
    """
    character, settings = project.character, project.character.shots
    learn(project)
    with project.exclusive("shots"):
        shots = planned(project)
        _only_rejected(project, ids)
        rules = rules_for(wear_of(character.class_word), abilities, settings.genres)
        fresh = replan_shots(
            shots,
            ids,
            rules=rules,
            counted=[*settings.quotas],
            seed=settings.seed,
            trigger=character.trigger,
            dialect=dialect_for(project),
            thresholds=settings.thresholds,
        )
        with project.store.transaction():
            for shot in fresh:
                changed = {"attributes": shot.attributes, "prompt": shot.prompt, "seed": shot.seed}
                project.store.update_shot(shot.id, **changed)
        write_text(project.folder("shots") / "prompts.txt", by_domain(project.store.shots()))
        project.store.log("shots", "replanned", shots=[s.id for s in fresh])
    value = {"replanned": [s.id for s in fresh], "prompts": "shots/prompts.txt"}
    yield Result(value)


def _only_rejected(project: Project, ids: Sequence[str]) -> None:
    decisions = project.store.standing_decisions()
    for shot_id in ids:
        for take in project.store.takes(shot_id=shot_id):
            verdict = decisions[take.id].verdict if take.id in decisions else None
            if take.state != "failed" and verdict != "reject":
                raise UsageError(
                    f"{shot_id} has a take that is not rejected (take {take.id})",
                    where=str(project.root),
                    fix=f"Run `limner reject {take.id}` first, or leave the shot as it is.",
                )


def _store(project: Project, shots: list[Shot], *, replace: bool) -> bool:
    """Write the plan unless an equal one is there; True when the store changed."""
    old = project.store.shots()
    anew = {s.id for s in old if AGAIN in s.attributes}  # these went their own way

    def facts(some: Sequence[Shot]) -> list[tuple[object, ...]]:
        return [(s.id,) if s.id in anew else (s.id, s.attributes, s.prompt, s.seed) for s in some]

    if facts(old) == facts(shots):
        return False
    if old and project.store.takes():
        raise UsageError(
            "Takes were made for the plan that is here, so it cannot be replaced",
            where=str(project.root),
            fix="Make another project for another plan, or set shots back as they were.",
        )
    if old and not replace:
        raise UsageError(
            f"There is a plan of {len(old)} shots here, and this one would be another",
            where=str(project.root / "shots"),
            fix="Run it again with --replace to plan anew.",
        )
    project.store.replace_shots(shots)
    return True


def _summary(report: Mapping[str, Any]) -> str:
    distinct = {axis: entry["got"] for axis, entry in report["distinct"].items()}
    return (
        f"{report['count']} shots: {distinct['setting']} settings, {distinct['outfit']} outfits, "
        f"{distinct['lighting']} lights; quotas {'exact' if report['exact'] else 'NOT met'}."
    )


def _write_files(project: Project, report: Mapping[str, Any]) -> None:
    folder = project.folder("shots")
    write_text(folder / "prompts.txt", by_domain(project.store.shots()))
    write_json(folder / "report.json", report)


def planned(project: Project) -> list[Shot]:
    """The project's shots. Raises NotReadyError when there is no plan."""
    shots = project.store.shots()
    if not shots:
        raise NotReadyError(
            "There is no plan of shots yet", where=str(project.root), fix="Run `limner shots plan`."
        )
    return shots


def export(project: Project, kind: str = "txt") -> Path:
    """Write shots/prompts.<kind> (txt by domain for the clipboard, json, csv); returns the file."""
    if kind not in EXPORTS:
        raise UsageError(f"no export {kind!r}", fix=f"Use one of: {', '.join(EXPORTS)}")
    shots = planned(project)
    file = project.folder("shots") / f"prompts.{kind}"
    if kind == "json":
        write_json(file, [exported(s) for s in shots])
    else:
        write_text(file, by_domain(shots) if kind == "txt" else table(shots))
    return file


def check(project: Project) -> list[Finding]:
    """Findings on the plan: [{rule, severity, file, text, fix}]; nothing is changed.

    severity: error | warning. Raises NotReadyError when there is no plan.
    """
    learn(project)
    shots = planned(project)
    character = project.character
    own = character.shots.thresholds
    found: list[Finding] = []
    for shot in shots:
        found += _check_prompt(shot, character.trigger, own, character.class_word)
    found += _check_quotas(project, shots)
    found += _check_pairs(shots, own)
    return found + _check_set(shots, own)


def _check_quotas(project: Project, shots: Sequence[Shot]) -> list[Finding]:
    """What character.yaml asks for now against what was planned (a preset's mix may give way)."""
    character = project.character
    asked = character.shots
    rules = rules_for(wear_of(character.class_word), None, asked.genres)
    targets = make_targets(asked.count, asked.preset, asked.quotas, rules)
    targets = with_signature(targets, signature_of(project), asked.count, rules)
    have = counts(shots)
    fix = "Run `limner shots plan --replace`, or put character.yaml back as it was."
    return [
        _finding("quota", "warning", "shots", f"{axis} {v}: {have[axis].get(v, 0)}, not {n}", fix)
        for axis, wanted in targets.items()
        for v, n in wanted.items()
        if v != REST and have[axis].get(v, 0) != n and (axis != "mix" or "mix" in asked.quotas)
    ]


def _finding(rule: str, severity: str, where: str, text: str, fix: str) -> Finding:
    return {"rule": rule, "severity": severity, "file": where, "text": text, "fix": fix}


def _check_prompt(
    shot: Shot, trigger: str, own: Mapping[str, float], class_word: str
) -> list[Finding]:
    found = []
    words = len(shot.prompt.split())
    low, high = threshold("words_min", own), threshold("words_max", own)
    times = len(re.findall(rf"(?<!\w){re.escape(trigger)}(?!\w)", shot.prompt))
    anew = "Plan anew, or edit the prompt."
    if times != 1:
        text = f"the trigger {trigger} stands {times} times in the prompt"
        found.append(_finding("trigger", "error", shot.id, text, "Write it exactly once."))
    if not low <= words <= high:
        text = f"{words} words, outside {low:g} to {high:g}"
        found.append(_finding("length", "warning", shot.id, text, anew))
    for constant in find_constants(shot.prompt, class_word):
        text = f'"{constant.words}" names a constant of the person ({constant.trait})'
        found.append(_finding("constant", "error", shot.id, text, "Delete these words."))
    if match := _NEGATION.search(shot.prompt):
        text = f'"{match.group(0)}": picture models read what is not wanted as wanted'
        found.append(_finding("negation", "warning", shot.id, text, "Say what should be there."))
    return found


def _check_pairs(shots: Sequence[Shot], own: Mapping[str, float]) -> list[Finding]:
    found = []
    limit = threshold("likeness_of_shots", own)
    sets = [{(a, s.attributes[a]) for a in (*lexicon.AXES, "gaze")} for s in shots]
    for i, first in enumerate(sets):
        for j in range(i + 1, len(sets)):
            likeness = len(first & sets[j]) / len(first | sets[j])
            if likeness > limit:
                text = f"almost the same shot as {shots[i].id} (likeness {likeness:.2f})"
                fix = "Plan anew with another seed."
                found.append(_finding("likeness", "warning", shots[j].id, text, fix))
    if len(shots) <= threshold("shared_run_up_to", own):
        for a, b, words in shared_runs(shots, int(threshold("shared_run", own))):
            text = f'shares "{words}" with {a}'
            found.append(_finding("shared_run", "warning", b, text, "Reword one of the two."))
    return found


def _check_set(shots: Sequence[Shot], own: Mapping[str, float]) -> list[Finding]:
    found = []
    total = len(shots)
    have = counts(shots)
    fix = "Raise shots.count, lower the quotas that crowd it out, or plan anew."
    for axis, need in needed_distinct(total, own).items():
        if len(have[axis]) < need:
            text = f"{len(have[axis])} distinct values of {axis}, fewer than {need}"
            found.append(_finding(f"distinct_{axis}", "warning", "shots", text, fix))
    most = max(2.0, threshold("repeat_share", own) * total)
    for axis in ("setting", "outfit", "lighting"):
        for value, n in have[axis].items():
            if n > most:
                text = f"{value} stands in {n} of {total} shots"
                found.append(_finding("repeat", "warning", "shots", text, fix))
    found += _check_domains(shots, own)
    if total >= threshold("association_from", own):
        for entry in associations(shots):
            v = entry["v"]
            if v is not None and not entry["by_rule"] and v > threshold("association", own):
                a, b = entry["axes"]
                text = f"{a} and {b} stick together (Cramer's V {v:.2f})"
                found.append(_finding("association", "warning", "shots", text, fix))
    return found


def _check_domains(shots: Sequence[Shot], own: Mapping[str, float]) -> list[Finding]:
    """Each mood and each light spread over enough angle domains."""
    found = []
    domains = len(set(column(shots, "angle")))
    for axis, name in (("expression", "domains_of_mood"), ("lighting", "domains_of_light")):
        among = [s for s in shots if s.face_visible or axis != "expression"]
        times = Counter(column(among, axis))
        for value, n in times.items():
            seen = len({s.attributes["angle"] for s in among if s.attributes[axis] == value})
            need = min(int(threshold(name, own)), domains, n)
            if seen < need:
                text = f"{value} stands in {seen} of {domains} angle domains, fewer than {need}"
                found.append(_finding(name, "warning", "shots", text, "Plan anew."))
    return found
