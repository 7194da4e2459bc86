"""The stage: measure the takes, let the rules speak, keep the best take of a shot, reopen the rest.

In: a project with done takes. Out: measures, decisions and shot states in its records. A person's
decision always stands; the rules' word is written only when it changes.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from limner.errors import NotReadyError, UsageError
from limner.events import Events, Notice, Result, Ticker
from limner.project import Project
from limner.project.records import Decision, Shot, Take, Verdict3
from limner.review.judge import Case, Judgement, judge
from limner.review.measuring import Seen, read_takes
from limner.review.rules import kind_of, rules

OTHER_KEPT = "another take of this shot is kept"


def review(project: Project, *, again: bool = False, workers: int = 2) -> Events:
    """Measure and judge every done take; cached readings are used unless `again`.

    Result: {takes, measured, keep, reject, undecided, kept_shots, open_shots, reasons}, where
    reasons counts each rejected or undecided take's first reason. Raises NotReadyError without
    takes, InputError for an unknown rule in character.yaml.
    """
    table = rules(project.character.review.thresholds)
    with project.exclusive("review"):
        takes = project.store.takes(state="done")
        if not takes:
            raise NotReadyError(
                "There are no takes to review", fix="Make some with `limner generate`."
            )
        kinds = {take.id: kind_of(take.source) for take in takes}
        smallest = {t.id: table["smallest_face"].at(kinds[t.id]) for t in takes}
        ticker = Ticker("review", len(takes))
        seen: list[Seen] = []
        for one in read_takes(
            project, takes, kinds=kinds, smallest=smallest, again=again, workers=workers
        ):
            seen.append(one)
            yield ticker.tick(note=one.take.shot_id)
        for reason in _missing_extras(seen):
            yield Notice(reason, "warning")
        judged = judge(_cases(project, seen), table)
        _write(project, judged)
        yield Result(_summary(project, judged))


def keep(project: Project, take_id: int, reason: str = "") -> None:
    """Keep a take by hand; the shot's other take that was kept steps down. Raises as `reject`."""
    take = _done_take(project, take_id)
    store = project.store
    with project.exclusive("review"), store.transaction():
        standing = store.standing_decisions()
        for other in store.takes(shot_id=take.shot_id, state="done"):
            decision = standing.get(other.id)
            if other.id != take_id and decision is not None and decision.verdict == "keep":
                said = f"take {take_id} of this shot was kept instead"
                store.decide(other.id, "undecided", [said], decision.author)
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

    Raises UsageError when no decision by hand stands.
    """
    take = _done_take(project, take_id)
    store = project.store
    with project.exclusive("review"), store.transaction():
        newest = next(reversed(store.decisions(take_id)), None)
        if newest is None or newest.author != "person":
            raise UsageError(
                f"There is no decision by hand on take {take_id} to take back",
                fix="`limner keep` and `limner reject` decide by hand; rules decide in `review`.",
            )
        store.undo_decision(take_id)
        _settle(project, take.shot_id)
    return newest


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
            cases.append(Case(one.take, shots[one.take.shot_id], one, by_hand == "keep"))
    return cases


def _by_hand(decision: Decision | None) -> Verdict3 | None:
    return decision.verdict if decision is not None and decision.author == "person" else None


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


def _summary(project: Project, judged: list[Judgement]) -> dict[str, Any]:
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
    }
