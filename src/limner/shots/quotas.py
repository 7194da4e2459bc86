"""Shares to counts: exact quotas for any number of shots.

In: shares in percent, a total, places with their rules. Out: counts that sum up, and balanced
assignments of one axis to another by maximum flow. Rounding is by largest remainder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor

from limner.errors import InputError, UsageError

REST = "*"
"""The share nobody named; it is spread over the values that are left."""


def largest_remainder(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Counts that sum to `total`; each differs from its exact share by less than 1 (Hamilton).

    shares: any non-negative weights; ties go to the earlier key.
    """
    whole = sum(shares.values())
    if total and whole <= 0:
        raise InputError("the shares of a quota are all zero")
    exact = {k: v * total / whole if whole else 0.0 for k, v in shares.items()}
    counts = {k: floor(v + 1e-9) for k, v in exact.items()}
    order = sorted(exact, key=lambda k: -round(exact[k] - counts[k], 9))
    for key in order[: total - sum(counts.values())]:
        counts[key] += 1
    return counts


def parse_quotas(texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """`angle:front=50,side=20` -> {"angle": {"front": 50, "side": 20}}. Raises UsageError."""
    found: dict[str, dict[str, float]] = {}
    for text in texts:
        axis, colon, shares = text.partition(":")
        for part in shares.split(","):
            value, equals, share = (p.strip() for p in part.partition("="))
            try:
                number = float(share.removesuffix("%"))
            except ValueError:
                number = -1.0
            if not (colon and equals and value) or not 0 <= number <= 100:
                raise UsageError(
                    f"{text!r} is no quota",
                    where="--quota",
                    fix="Write AXIS:VALUE=PERCENT,..., for example angle:front=50,side=20.",
                )
            if value in found.setdefault(axis.strip(), {}):
                raise UsageError(f"{value} has two shares", where="--quota", fix="Give it one.")
            found[axis.strip()][value] = number
    return found


def fill_up(
    axis: str, own: Mapping[str, float], preset: Mapping[str, float], allowed: Sequence[str]
) -> dict[str, float]:
    """A user's shares completed to 100 %: what is left goes to the preset's other values.

    Without a preset the rest stays together under `REST`. Raises InputError for an unknown value, a
    negative share, or more than 100 %.
    """
    for name, share in own.items():
        if name not in allowed:
            raise InputError(
                f"shots.quotas.{axis}: there is no {axis} {name!r} to plan",
                where=f"shots.quotas.{axis}",
                fix=f"Use some of: {', '.join(allowed)}",
            )
        if share < 0:
            raise InputError(f"the share of {name} is negative", where=f"shots.quotas.{axis}")
    left = 100 - sum(own.values())
    if left < -0.01:
        raise InputError(
            f"the shares of {axis} sum to {100 - left:g} %; these alone are too much: "
            + ", ".join(f"{v} {own[v]:g} %" for v in _too_much(own)),
            where=f"shots.quotas.{axis}",
            fix="Let them sum to 100 or less; what is left is shared out.",
        )
    if not own:
        return dict(preset)
    others = {k: v for k, v in preset.items() if k not in own and v > 0}
    if left <= 0.01:
        return dict(own)
    if others:
        whole = sum(others.values())
        return {**own, **{k: left * v / whole for k, v in others.items()}}
    if preset or not set(allowed) - set(own):
        raise InputError(
            f"the shares of {axis} sum to {100 - left:g} % and no other value is left",
            where=f"shots.quotas.{axis}",
            fix="Let them sum to 100.",
        )
    return {**own, REST: left}


def _too_much(shares: Mapping[str, float]) -> list[str]:
    """The fewest, largest shares that pass 100 % together: without any of them they would not."""
    kept: list[str] = []
    for value in sorted(shares, key=lambda v: -shares[v]):
        kept.append(value)
        if sum(shares[v] for v in kept) > 100.01:
            break
    return kept


@dataclass
class Assignment:
    """`flow`: source -> target -> how many. `short`: targets that could not get their count."""

    flow: dict[str, dict[str, int]]
    short: dict[str, int] = field(default_factory=dict)
    unplaced: int = 0


def assign(
    supply: Mapping[str, int],
    allowed: Mapping[str, Sequence[str]],
    exact: Mapping[str, int] | None = None,
    order: Sequence[str] = (),
    *,
    even: bool = True,
) -> Assignment:
    """Spread each source's units over its allowed targets: exact counts first, then evenly.

    supply: source -> units. exact: targets with a fixed count; all others are filled level by level
    (1 each, 2 each, ...), so that the fewest repeats and the most distinct values come out. Maximum
    flow by shortest augmenting paths (Edmonds-Karp); order: preference among targets. even=False
    only asks whether it can be done: the soft targets take what comes.
    """
    exact = dict(exact or {})
    targets = list(dict.fromkeys([*order, *(t for s in supply for t in allowed[s])]))
    rank = {t: i for i, t in enumerate(targets)}
    ways = {s: sorted(allowed[s], key=rank.__getitem__) for s in supply}
    state = _Flow({s: n for s, n in supply.items() if n > 0}, ways)
    cap = {t: exact.get(t, 0) for t in targets}
    while state.augment(cap):
        pass
    short = {t: n - state.used(t) for t, n in exact.items() if state.used(t) < n}
    soft = [t for t in targets if t not in exact]
    total = sum(supply.values())
    level = 0 if even else total
    while state.left() and soft and level <= total:
        level += 1
        cap.update(dict.fromkeys(soft, level))
        while state.augment(cap):
            pass
    return Assignment(state.flow, short, state.left())


class _Flow:
    """Unit flow from sources to targets, grown one augmenting path at a time."""

    def __init__(self, supply: dict[str, int], ways: Mapping[str, Sequence[str]]) -> None:
        self.supply = supply
        self.ways = ways
        self.flow: dict[str, dict[str, int]] = {s: {} for s in supply}
        self._used: dict[str, int] = {}

    def used(self, target: str) -> int:
        return self._used.get(target, 0)

    def left(self) -> int:
        return sum(self.supply.values()) - sum(self._used.values())

    def augment(self, cap: Mapping[str, int]) -> bool:
        """Push all that one more way to a target below its cap can take; False if there is none."""
        came: dict[str, tuple[str, str]] = {}  # target -> (source, the source's own target before)
        via = {s: "" for s, n in self.supply.items() if self._missing(s) > 0}
        queue: deque[str] = deque(via)
        while queue:
            source = queue.popleft()
            for target in self.ways[source]:
                if target in came:
                    continue
                came[target] = (source, via[source])
                if self.used(target) < cap.get(target, 0):
                    self._push(target, came, cap[target] - self.used(target))
                    return True
                for other, flows in self.flow.items():
                    if other not in via and flows.get(target, 0) > 0:
                        via[other] = target
                        queue.append(other)
        return False

    def _missing(self, source: str) -> int:
        return self.supply[source] - sum(self.flow[source].values())

    def _push(self, target: str, came: Mapping[str, tuple[str, str]], amount: int) -> None:
        path = []
        at = target
        while at:
            source, before = came[at]
            path.append((source, at, before))
            amount = min(amount, self.flow[source][before] if before else self._missing(source))
            at = before
        self._used[target] = self.used(target) + amount
        for source, to, before in path:
            self.flow[source][to] = self.flow[source].get(to, 0) + amount
            if before:
                self.flow[source][before] -= amount
