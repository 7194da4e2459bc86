"""Money: what the open orders cost, what was spent, and the caps that hold both.

In: a project, the orders of this command with their prices, the caps. Out: a `Quote` to show, or
an error before anything is sent. All amounts are US dollars as the service states them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from limner.errors import UsageError
from limner.project import Project
from limner.project.rules import Rule
from limner.sources.source import Order, Price

BUDGET = {
    "retake_reserve": Rule(
        0.2, "community", "the guide's 4 to 8 of 40", "share held back for retakes in the quote"
    ),
    "retake_norm_low": Rule(0.05, "community", "the guide", "share of retakes that is usual, from"),
    "retake_norm_high": Rule(0.10, "community", "the guide", "share of retakes that is usual, to"),
}
"""Every number of the quote."""


@dataclass(frozen=True)
class Quote:
    """What this command may cost. `new`: orders not sent yet; `spent`: by the project so far."""

    new: Decimal
    credits: Decimal
    orders: int
    spent: Decimal
    retakes: int
    shots: int

    @property
    def with_reserve(self) -> Decimal:
        """The new orders and the usual reserve for retakes."""
        return self.new * (1 + Decimal(str(BUDGET["retake_reserve"].value)))

    def sentence(self) -> str:
        """What the user reads before anything is paid."""
        reserve = 100 * BUDGET["retake_reserve"].value
        share = f"{100 * self.retakes / self.shots:.0f} %" if self.shots else "none"
        norm = f"{100 * BUDGET['retake_norm_low'].value:.0f} to " + (
            f"{100 * BUDGET['retake_norm_high'].value:.0f} %"
        )
        return (
            f"{self.orders} orders cost {dollars(self.new)} ({self.credits.normalize():f} "
            f"credits); with {reserve:.0f} % in reserve for retakes {dollars(self.with_reserve)}. "
            f"The project has spent {dollars(self.spent)}; retakes so far {share} of its shots "
            f"(usual: {norm})."
        )

    def as_dict(self) -> dict[str, Any]:
        """For `--json`: dollars as text, so that no cent is lost."""
        return {
            "orders": self.orders,
            "usd": str(self.new),
            "credits": str(self.credits),
            "usd_with_reserve": str(self.with_reserve.quantize(Decimal("0.0001"))),
            "spent_usd": str(self.spent),
            "retakes": self.retakes,
        }


def dollars(amount: Decimal) -> str:
    """`$3.76`; parts of a cent only where they are all there is."""
    return f"${amount:.2f}" if amount == 0 or amount >= Decimal("0.01") else f"${amount:f}"


def usd_of(order: Order) -> Decimal:
    """What an order costs or cost: 0 when it turned out free or was never priced."""
    price = order.get("price") or {}
    return Decimal(0) if order.get("charged") is False else Decimal(str(price.get("usd", 0)))


def spent(project: Project, source: str) -> Decimal:
    """Dollars of all orders of a source in this project, those still under way included."""
    takes = project.store.takes()
    return sum(
        (usd_of(t.request.get("order", {})) for t in takes if t.source == source), Decimal(0)
    )


def quote(project: Project, source: str, prices: Sequence[Price]) -> Quote:
    """What the new orders cost, beside what the project spent so far."""
    takes = [t for t in project.store.takes() if t.source == source]
    own = [t for t in takes if "of" not in t.request.get("order", {})]
    return Quote(
        sum((p.usd for p in prices), Decimal(0)),
        sum((p.credits for p in prices), Decimal(0)),
        len(prices),
        spent(project, source),
        len(own) - len({t.shot_id for t in own}),
        len({t.shot_id for t in own}),
    )


def hold(found: Quote, *, command: float | None, project: float | None) -> None:
    """Refuse before anything is sent: no cap given, or a cap that the orders would pass.

    command: `--max-cost`; project: `source.max_cost`. Raises UsageError.
    """
    if not found.orders or not found.new:
        return
    if command is None and project is None:
        raise UsageError(
            f"This costs money, and no limit is set. {found.sentence()}",
            fix=f"Say how much it may cost: --max-cost {_round_up(found.new)}, or source.max_cost "
            "in character.yaml for the whole project.",
        )
    each = found.new / found.orders
    if command is not None and found.new > Decimal(str(command)):
        fits = int(Decimal(str(command)) / each) if each else 0
        raise UsageError(
            f"This would cost {dollars(found.new)}, more than --max-cost {command:g}",
            fix=f"Raise it to {_round_up(found.new)}"
            + (f", or make {fits} pictures with --limit {fits}." if fits else "."),
        )
    total = found.spent + found.new
    if project is not None and total > Decimal(str(project)):
        left = max(Decimal(str(project)) - found.spent, Decimal(0))
        fits = int(left / each) if each else 0
        raise UsageError(
            f"The project has spent {dollars(found.spent)}; with {dollars(found.new)} more it "
            f"would pass source.max_cost {project:g}",
            fix="Raise source.max_cost in character.yaml"
            + (f", or make {fits} pictures with --limit {fits}." if fits else "."),
        )


def _round_up(amount: Decimal) -> str:
    """The amount rounded up to 10 cents."""
    return f"{(amount * 10).to_integral_value('ROUND_CEILING') / 10:.2f}"
