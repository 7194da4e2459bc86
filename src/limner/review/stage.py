"""The stage: measure the takes, let the rules speak, keep the best take of a shot, reopen the rest.

In: a project with done takes. Out: measures, decisions and shot states in its records. A person's
decision always stands; the rules' word is written only when it changes.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from limner.errors import NotReadyError, UsageError
from limner.events import Events, Notice, Result, Ticker
from limner.llm import Client, find_endpoint
from limner.project import Project
from limner.project.files import sha256_bytes, sha256_file, write_json
from limner.project.records import Decision, Shot, Take, Verdict3
from limner.review import questions
from limner.review.case import Case, Judgement
from limner.review.judge import judge
from limner.review.measuring import Seen, read_takes
from limner.review.rules import Rule, kind_of, rules
from limner.vision.brought import open_brought
from limner.vision.questions import ask as ask_endpoint

OTHER_KEPT = "another take of this shot is kept"


def review(
    project: Project,
    *,
    again: bool = False,
    workers: int = 2,
    text: bool = False,
    ask: bool = False,
) -> Events:
    """Measure and judge every done take; cached readings are used unless `again`.

    text: look for writing too. ask: yes/no questions to the user's vision endpoint. Result:
    {takes, measured, keep, reject, undecided, kept_shots, open_shots, reasons, calibration,
    identity {compared, of, reasons}, look_at, budget}, where reasons counts each rejected or
    undecided take's first reason and look_at names the takes picked at random for a person.
    Raises NotReadyError without takes, InputError for an unknown rule in character.yaml,
    UsageError for `ask` without an endpoint.
    """
    settings = project.character.review
    table = rules(settings.thresholds, short_side=project.character.source.short_side)
    cards = tuple(project.path(card) for card in settings.embedders)
    brought = {own.name: own.card.threshold for own in map(open_brought, cards)}
    with project.exclusive("review"):
        takes = project.store.takes(state="done")
        if not takes:
            raise NotReadyError(
                "There are no takes to review", fix="Make some with `limner generate`."
            )
        kinds = {take.id: kind_of(take.source, take.labels) for take in takes}
        smallest = {t.id: table["smallest_face"].at(kinds[t.id]) for t in takes}
        ticker = Ticker("review", len(takes))
        seen: list[Seen] = []
        for one in read_takes(
            project,
            takes,
            kinds=kinds,
            smallest=smallest,
            again=again,
            workers=workers,
            brought=cards,
            text=text,
        ):
            seen.append(one)
            yield ticker.tick(note=one.take.shot_id)
        for reason in _missing_extras(seen):
            yield Notice(reason, "warning")
        found = judge(_cases(project, seen), table, brought=brought)
        yield from _questions(project, found.all, table, ask=ask)
        _write(project, found.all)
        _keep_calibration(project, found.calibration)
        yield Result({**_summary(project, found.all, table), "calibration": found.calibration})


def keep(project: Project, take_id: int, reason: str = "") -> None:
    """Keep a take by hand; the shot's other take that was kept steps down. Raises as `reject`."""
    take = _done_take(project, take_id)
    store = project.store
    with project.exclusive("review"), store.transaction():
        standing = store.standing_decisions()
        for other in store.takes(shot_id=take.shot_id, state="done"):
            decision = standing.get(other.id)
            if other.id != take_id and decision is not None and decision.verdict == "keep":
                store.decide(other.id, "undecided", [_instead(take_id)], decision.author)
        store.decide(take_id, "keep", [reason] if reason else [], "person")
        _settle(project, take.shot_id)


def reject(project: Project, take_id: int, reason: str = "") -> None:
    """Reject a take by hand; its shot is open again, with the reason as its hint.

    Raises StoreError for an unknown take, UsageError for one that is not done.
    """
    take = _done_take(project, take_id)
    with project.exclusive("review"), project.store.transaction():
        project.store.decide(take_id, "reject", [reason] if reason else [], "person")
        _settle(project, take.shot_id)


def undo(project: Project, take_id: int) -> Decision:
    """Take back the newest decision by hand on a take; what stood before stands again.

    Raises UsageError when no decision by hand stands, or when another take was kept since in place
    of this one.
    """
    take = _done_take(project, take_id)
    store = project.store
    with project.exclusive("review"), store.transaction():
        history = store.decisions(take_id)
        newest = history[-1] if history else None
        if newest is None or newest.author != "person":
            raise UsageError(
                f"There is no decision by hand on take {take_id} to take back",
                fix="`limner keep` and `limner reject` decide by hand; rules decide in `review`.",
            )
        store.undo_decision(take_id)
        others = [o.id for o in store.takes(shot_id=take.shot_id, state="done") if o.id != take_id]
        for other in others:
            stepped = next(reversed(store.decisions(other)), None)
            if stepped is None or stepped.reasons != [_instead(take_id)]:
                continue
            if len(history) < 2 or stepped.id > history[-2].id:  # it stepped down for `newest`
                store.undo_decision(other)
        standing = store.standing_decisions()
        kept = [i for i in (take_id, *others) if i in standing and standing[i].verdict == "keep"]
        if take_id in kept and len(kept) > 1:
            by_hand = standing[kept[1]].author == "person"
            first = f"`limner undo {kept[1]}` first, or " if by_hand else ""
            raise UsageError(
                f"Take {kept[1]} was kept instead of take {take_id}, and a shot keeps one",
                fix=f"Run {first}`limner keep {take_id}` to have this one.",
            )
        _settle(project, take.shot_id)
    return newest


def _instead(take_id: int) -> str:
    return f"take {take_id} of this shot was kept instead"


def _done_take(project: Project, take_id: int) -> Take:
    take = project.store.take(take_id)
    if take.state != "done":
        raise UsageError(
            f"Take {take_id} is {take.state}, so there is nothing to decide",
            fix="Run `limner generate` again to finish it.",
        )
    return take


def _cases(project: Project, seen: list[Seen]) -> list[Case]:
    """Cases for the judge; takes a person rejected stay out, so that they shape no template."""
    shots = {shot.id: shot for shot in project.store.shots()}
    standing = project.store.standing_decisions()
    cases = []
    for one in seen:
        by_hand = _by_hand(standing.get(one.take.id))
        if by_hand != "reject":
            kind = kind_of(one.take.source, one.take.labels)
            shot = one.take.asked(shots[one.take.shot_id])
            cases.append(Case(one.take, shot, one, kind, by_hand == "keep"))
    return cases


def _by_hand(decision: Decision | None) -> Verdict3 | None:
    return decision.verdict if decision is not None and decision.author == "person" else None


def _questions(
    project: Project, judged: list[Judgement], table: Mapping[str, Rule], *, ask: bool
) -> Events:
    """Ask the endpoint about every take that no measure rejected; nobody is asked without `ask`."""
    if not ask:
        for one in judged:
            questions.judge(one, None, table)
        return
    shots = project.store.shots()
    left = [one for one in judged if one.verdict != "reject" and one.case.take.path]
    ticker = Ticker("ask", len(left))
    with Client(find_endpoint()) as client:
        for one in left:
            path = project.path(one.case.take.path or "")
            asked = questions.questions_for(one.case.shot, shots)
            digest = sha256_file(path)
            answers = ask_endpoint(client, path, digest, asked, project.root / ".limner")
            questions.judge(one, answers, table)
            yield ticker.tick(note=one.case.shot.id)


def _keep_calibration(project: Project, calibration: dict[str, Any]) -> None:
    write_json(project.root / ".limner" / CALIBRATION, calibration)


CALIBRATION = "calibration.json"
"""What identity was held against in the newest review, for the contact sheet."""


def look_at(project: Project, share: float) -> list[Take]:
    """Kept takes for a person's eyes: a random share of those the rules kept, at least one.

    The same takes each time (by their SHA-256), whatever is added to the set.
    """
    standing = project.store.standing_decisions()
    kept = [take for take in project.store.kept() if standing[take.id].author == "rule"]
    wanted = math.ceil(share * len(kept))
    return sorted(kept, key=lambda take: sha256_bytes(f"look {take.sha256}".encode()))[:wanted]


def budget(project: Project, table: Mapping[str, Rule]) -> dict[str, Any]:
    """How many takes were made again, beside what is usual and what the cost reserves."""
    shots = len(project.store.shots())
    again = len(project.store.takes(state="done")) - len(
        {take.shot_id for take in project.store.takes(state="done")}
    )
    waiting = sum(shot.state == "open" and bool(shot.hint) for shot in project.store.shots())
    share = (again + waiting) / max(shots, 1)
    usual, reserved = table["budget_usual"].value, table["budget_reserved"].value
    much = (
        ", beyond the reserve" if share > reserved else ", more than usual" if share > usual else ""
    )
    waits = f" and {waiting} {'waits' if waiting == 1 else 'wait'} to be" if waiting else ""
    said = (
        f"{again} of {shots} shots {'was' if again == 1 else 'were'} made again{waits}: "
        f"{100 * share:.0f} %"
        f"{much}; 5 to {100 * usual:.0f} % is usual, plan for up to {100 * reserved:.0f} %"
    )
    return {
        "again": again,
        "waiting": waiting,
        "shots": shots,
        "share": round(share, 4),
        "said": said,
    }


def _missing_extras(seen: list[Seen]) -> list[str]:
    wanting: Counter[str] = Counter()
    for one in seen:
        for name, reason in (one.reading.missing if one.reading else {}).items():
            if reason.startswith("install "):
                wanting[f"{name} was not measured: {reason}"] += 1
    return sorted(wanting)


def _write(project: Project, judged: list[Judgement]) -> None:
    """Measures, changed decisions and shot states, all at once."""
    store = project.store
    with store.transaction():
        standing = store.standing_decisions()
        for one in judged:
            store.put_measures(one.case.take.id, one.measures.values())
        for take_id, (verdict, reasons) in _one_a_shot(judged, standing).items():
            old = standing.get(take_id)
            if _by_hand(old) is not None:
                continue
            if old is None or old.verdict != verdict or old.reasons != reasons:
                store.decide(take_id, verdict, reasons, "rule")
        for shot in store.shots():
            _settle(project, shot.id)
        store.log("review", "done", takes=len(judged))


def _one_a_shot(
    judged: list[Judgement], standing: dict[int, Decision]
) -> dict[int, tuple[Verdict3, list[str]]]:
    """The rules' word on every take, with at most one kept take a shot: a person's, or the best."""
    best: dict[str, int] = {}
    for one in sorted(judged, key=lambda j: (not j.case.trusted, -j.merit, j.case.take.id)):
        by_hand = _by_hand(standing.get(one.case.take.id))
        if by_hand == "keep" or (by_hand is None and one.verdict == "keep"):
            best.setdefault(one.case.take.shot_id, one.case.take.id)
    said: dict[int, tuple[Verdict3, list[str]]] = {}
    for one in judged:
        take = one.case.take
        if one.verdict == "keep" and best.get(take.shot_id, take.id) != take.id:
            said[take.id] = ("undecided", [f"{OTHER_KEPT} (take {best[take.shot_id]})"])
        else:
            said[take.id] = (one.verdict, one.reasons)
    return said


def _settle(project: Project, shot_id: str) -> None:
    """A shot's state from the decisions on its takes: kept, or open with the hint why."""
    store = project.store
    shot = store.shot(shot_id)
    if shot is None:
        return
    standing = store.standing_decisions()
    decisions = [
        standing[take.id]
        for take in store.takes(shot_id=shot_id, state="done")
        if take.id in standing
    ]
    if any(decision.verdict == "keep" for decision in decisions):
        _update(project, shot, "kept", "")
        return
    rejected = [decision for decision in decisions if decision.verdict == "reject"]
    hint = "; ".join(rejected[-1].reasons) or "rejected" if rejected else ""
    _update(project, shot, "open", hint)


def _update(project: Project, shot: Shot, state: str, hint: str) -> None:
    if (shot.state, shot.hint) != (state, hint):
        project.store.update_shot(shot.id, state=state, hint=hint)


def _identity(judged: Sequence[Judgement]) -> dict[str, Any]:
    """In how many pictures it was asked whether they show the person, and why not in the others."""
    reasons: Counter[str] = Counter()
    for one in judged:
        read = {n: m for n, m in one.measures.items() if n.startswith("identity_")}
        if all(m.value is None for n, m in read.items() if not n.endswith("_limit")):
            why = [m.reason for n, m in read.items() if m.reason and n == "identity_dlib"]
            reasons[why[0] if why else "not measured"] += 1
    left = sum(reasons.values())
    return {"compared": len(judged) - left, "of": len(judged), "reasons": dict(reasons)}


def _summary(
    project: Project, judged: list[Judgement], table: Mapping[str, Rule]
) -> dict[str, Any]:
    store = project.store
    standing = store.standing_decisions()
    done = {take.id for take in store.takes(state="done")}
    verdicts = Counter(d.verdict for take_id, d in standing.items() if take_id in done)
    shots = store.shots()
    reasons: Counter[str] = Counter()
    for one in judged:
        decision = standing[one.case.take.id]
        if decision.verdict != "keep" and decision.reasons:
            reasons[decision.reasons[0].split("(")[0].strip()] += 1
    return {
        "takes": len(done),
        "measured": sum(
            one.case.seen.reading is not None and not one.case.seen.cached for one in judged
        ),
        "keep": verdicts["keep"],
        "reject": verdicts["reject"],
        "undecided": verdicts["undecided"],
        "kept_shots": sum(shot.state == "kept" for shot in shots),
        "open_shots": sum(shot.state != "kept" for shot in shots),
        "reasons": dict(reasons.most_common()),
        "identity": _identity(judged),
        "look_at": [t.shot_id for t in look_at(project, table["manual_share"].value)],
        "budget": budget(project, table),
    }
