"""Higgsfield's Soul models as a source: order, wait, fetch at once, check.

In: the settings of a character. Out: pictures as the service made them. An order carries an
idempotency key that the run journals before the first request; the same order is never paid twice.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from limner.errors import InputError, LimnerError, WorkFailedError
from limner.project.files import canonical_json
from limner.sources.fetched import check
from limner.sources.higgsfield.api import Api, advise
from limner.sources.higgsfield.keys import find_keys
from limner.sources.higgsfield.models import PREFIX, body_of, choose_size
from limner.sources.higgsfield.slots import Slots
from limner.sources.source import LaterError, Note, Order, Picture, Price, Request
from limner.sources.wire import WireError

if TYPE_CHECKING:
    from limner.project.settings import Character

RETENTION_S = 7 * 24 * 3600
"""Finished files live 7 days (documentation)."""

FETCHERS = 2
"""Threads beyond the service's limit, so that fetching a picture holds no slot (starting value)."""

GONE = (403, 404, 410)
"""What a link answers when it has expired."""


class HiggsfieldSource:
    """One account's Soul models. base_url: another address, given by the person at the keyboard."""

    name = "higgsfield"

    def __init__(self, character: Character, *, base_url: str | None = None) -> None:
        self.settings = character.source.higgsfield
        self.short_side = max(character.source.short_side, character.training.resolution)
        self.at_once: int | None = self.settings.at_once + FETCHERS
        self._limits = character.source.limits
        self._base_url = base_url
        self._api: Api | None = None
        self._slots: Slots | None = None

    @property
    def api(self) -> Api:
        """The connection, opened when it is first needed. Raises UsageError without keys."""
        if self._api is None:
            self._api = Api(find_keys(), base_url=self._base_url, limits=self._limits)
            stopped, patience = self._api.wire.stopped, self._api.limits["slot_s"]
            self._slots = Slots(self.settings.at_once, stopped, patience)
        return self._api

    @property
    def slots(self) -> Slots:
        """Orders under way."""
        _ = self.api
        assert self._slots is not None
        return self._slots

    def abilities(self) -> Mapping[str, tuple[str, ...]]:
        """A text prompt can say everything."""
        return {}

    def remarks(self) -> list[str]:
        """What the user should know before paying."""
        size = choose_size(self.settings.aspect, self.short_side)
        said = [
            f"{self.settings.model}: {size.aspect} at {size.resolution}, about {size.width} x "
            f"{size.height} (1024 x 1024 does not exist there; the short side must be at least "
            f"{self.short_side})."
        ]
        if not self.settings.soul_id:
            said.append(
                "No Soul ID is set, so every picture shows another person. Make one with "
                "`limner soul-id create FOLDER`."
            )
        if not self.settings.may_train:
            said.append(
                "Whether pictures of this service may train another model is for you to find out; "
                "write the answer into source.higgsfield.may_train."
            )
        return said

    def order(self, request: Request) -> Order:
        """Model, exact body and idempotency key. Raises InputError for an impossible size."""
        size = choose_size(self.settings.aspect, self.short_side)
        body = body_of(self.settings, size, request.prompt, request.seed)
        return {
            "model": PREFIX + self.settings.model,
            "body": body,
            "key": str(uuid.uuid4()),  # random: a new project must never meet an old one's order
            "seed": body["seed"],
            "size": [size.width, size.height],
        }

    def prices(self, orders: Sequence[Order]) -> list[Price] | None:
        """Asked once for all orders that differ only in prompt and seed. Raises LimnerError.

        A run calls this first, also without orders: keys are found before any thread needs them.
        """
        _ = self.api
        known: dict[str, Price] = {}
        found = []
        for order in orders:
            plain = {k: v for k, v in order["body"].items() if k not in ("prompt", "seed")}
            shape = canonical_json([order["model"], plain])
            if shape not in known:
                known[shape] = self._price(order)
            found.append(known[shape])
        return found

    def _price(self, order: Order) -> Price:
        try:
            said = self.api.estimate(order["model"], order["body"]).data
        except WireError as error:
            raise advise(error, self.api.keys.origin) from None
        try:
            price = Price(Decimal(str(said["usd"])), Decimal(str(said.get("credits", 0))))
        except (TypeError, KeyError, AttributeError, InvalidOperation):
            price = Price(Decimal(-1))
        if not price.usd.is_finite() or price.usd < 0:
            raise WorkFailedError(
                "Higgsfield named no price, so nothing was ordered",
                where=f"estimate/{order['model']}",
                fix="Run the same command again later.",
            )
        return price

    def make(self, request: Request, order: Order, note: Note) -> list[Picture]:
        """Order (unless a killed run did), wait, fetch. Raises LaterError, WorkFailedError."""
        try:
            done = self._completed(order, note)
            urls = _links(done)
            if not urls:
                raise WorkFailedError("Higgsfield says completed, but names no picture")
            return [self._fetch(url, order, done) for url in urls]
        except WireError as error:
            raise advise(error, self.api.keys.origin) from None

    def stop(self) -> None:
        """Waiting calls of `make` end with LaterError."""
        if self._api is not None:
            self._api.wire.stopped.set()

    def close(self) -> None:
        """End the connections."""
        if self._api is not None:
            self._api.close()

    # ---- ordering

    def _completed(self, order: Order, note: Note) -> dict[str, Any]:
        """The service's last word on a completed order; a slot is held until then."""
        if order.get("request_id"):
            self.slots.enter(already=True)
        else:
            self._submit(order, note)
        try:
            done = self._poll(order)
        finally:
            self.slots.leave()
        state = str(done.get("status"))
        if state != "completed":
            note({"state": state, "charged": False})
            raise _refused(state, str(done.get("error") or ""))
        links = [url.split("?")[0] for url in _links(done)]
        note({"state": state, "charged": True, "links": links, **_expiry(done)})
        return done

    def _submit(self, order: Order, note: Note) -> None:
        """Send an order when a slot is free; afterwards it holds one and has a request id."""
        tries = int(self.api.limits["slot_tries"])
        for number in range(tries):
            self.slots.enter()
            try:
                answer = self.api.submit(order["model"], order["body"], order["key"])
            except WireError as error:
                if error.status != 400:
                    self.slots.leave()
                    if error.status == 422:
                        note({"charged": False})
                    raise
                self._after_400(order, note, error, last=number + 1 == tries)
                continue
            except BaseException:
                self.slots.leave()
                raise
            said = answer.data if isinstance(answer.data, Mapping) else {}
            if not said.get("request_id"):
                self.slots.leave()
                raise LaterError("Higgsfield took the order but gave it no number", stop=True)
            facts = {"request_id": str(said["request_id"]), "sent_at": time.time()}
            order.update(facts)
            note({**facts, "correlation": answer.correlation})
            return
        raise AssertionError("the last refusal raises")

    def _after_400(self, order: Order, note: Note, error: WireError, *, last: bool) -> None:
        """400 is a wrong order or a full service; the words do not tell, the estimate does.

        An order that the estimate accepts waits: for one of ours to end, or for a while.
        """
        others = self.slots.refused()
        wrong: WireError | None = None
        try:
            self.api.estimate(order["model"], order["body"])
        except WireError as problem:
            wrong = problem if problem.status in (400, 422) else None
        if wrong is None and not last:
            first, longest = (self.api.limits[f"poll_{k}_s"] for k in ("first", "longest"))
            if self.api.wire.wait(_jitter(first if others else longest)):
                raise LaterError("The run was stopped", fix="Run the same command again.")
            return
        note({"charged": False})
        if wrong is not None:
            raise WorkFailedError(
                f"Higgsfield rejected this order ({wrong.said or error.said or 'no reason given'})",
                where=f"correlation id {wrong.correlation}",
                fix="Change the prompt or the settings of source.higgsfield; nothing was paid.",
            )
        raise WorkFailedError(
            f"Higgsfield refused this order again and again ({error.said or 'no reason given'})",
            where=f"correlation id {error.correlation}",
            fix="Either other programs use up the account's orders at once (then wait, or lower "
            "source.higgsfield.at_once), or it does not like this prompt. Nothing was paid.",
        )

    def _poll(self, order: Order) -> dict[str, Any]:
        """Ask until the order has ended. Raises LaterError when that takes too long."""
        limits, request_id = self.api.limits, str(order["request_id"])
        end = time.monotonic() + limits["job_s"]
        wait = limits["poll_first_s"]
        while True:
            try:
                said = self.api.status(request_id).data
            except WireError as error:
                if error.status == 404 and _old(order):
                    raise WorkFailedError(
                        "Higgsfield no longer knows this order, and its files would be gone",
                        where=f"request {request_id}",
                        fix="The next `limner generate` orders (and pays) this picture anew.",
                    ) from None
                raise
            if isinstance(said, Mapping) and said.get("status") in (
                *("completed", "failed", "nsfw", "canceled", "cancelled"),
            ):
                return dict(said)
            if time.monotonic() > end or self.api.wire.wait(_jitter(wait)):
                state = said.get("status") if isinstance(said, Mapping) else "unknown"
                raise LaterError(
                    f"The order is still {state}",
                    where=f"request {request_id}",
                    fix="Run the same command again; it goes on waiting for this order.",
                )
            wait = min(wait * 1.5, limits["poll_longest_s"])

    # ---- fetching

    def _fetch(self, url: str, order: Order, done: Mapping[str, Any]) -> Picture:
        """Fetch and check a picture; a broken one is fetched again, because it is paid."""
        problem: LimnerError | None = None
        for number in range(int(self.api.limits["attempts"])):
            if number and self.api.wire.wait(_jitter(self.api.limits["first_wait_s"])):
                break
            try:
                data = self.api.wire.fetch(url)
                found = check(data)
            except WireError as error:
                if error.again or error.status is None:
                    raise  # asked often enough; the order stays
                problem = error
            except InputError as error:
                problem = error
            else:
                labels = self._labels(order, done, found.width, found.height)
                return Picture(data, found.width, found.height, labels, found.suffix)
        gone = isinstance(problem, WireError) and problem.status in GONE
        if gone and (_expired(done) or _old(order)):
            raise WorkFailedError(
                "The picture was made and paid, but its link has expired",
                where=f"request {order['request_id']}",
                fix="The next `limner generate` orders (and pays) it anew. Links live 7 days.",
            )
        said = problem.what if problem else "stopped"
        raise LaterError(
            f"The picture is paid but could not be fetched whole ({said})",
            where=f"request {order['request_id']}",
            fix="Run the same command again soon: it is fetched again, and links expire in 7 days.",
        )

    def _labels(
        self, order: Order, done: Mapping[str, Any], width: int, height: int
    ) -> dict[str, Any]:
        body = order["body"]
        labels: dict[str, Any] = {
            "service": self.name,
            "model": order["model"],
            "soul_id": body.get("custom_reference_id"),
            "request_id": order["request_id"],
            "price": order.get("price"),
            "short_side": min(width, height),
            "asked_size": order.get("size"),
            **_expiry(done),
        }
        if min(width, height) < self.short_side:
            labels["too_small"] = f"short side {min(width, height)}, {self.short_side} wanted"
        return labels


def _links(done: Mapping[str, Any]) -> list[str]:
    """Addresses of the finished pictures."""
    images = done.get("images")
    found = [i.get("url") for i in images or () if isinstance(i, Mapping)]
    return [str(url) for url in found if url]


def _refused(state: str, said: str) -> WorkFailedError:
    more = f" ({said})" if said else ""
    if state == "nsfw":
        return WorkFailedError(
            f"Higgsfield's filter held this picture back{more}; it was not paid",
            fix="Run the command again for another seed; if it stays, reword outfit or pose.",
        )
    if state == "failed":
        return WorkFailedError(
            f"Higgsfield failed to make this picture{more}; it was not paid",
            fix="Run the same command again: it is ordered anew with another seed.",
        )
    return WorkFailedError(
        "This order was cancelled at Higgsfield; it was not paid",
        fix="Run the same command again to order it anew.",
    )


def _jitter(seconds: float) -> float:
    return seconds * random.uniform(0.75, 1.25)


def _old(order: Order) -> bool:
    """Whether an order's files cannot be there any more."""
    return time.time() - float(order.get("sent_at", time.time())) > RETENTION_S


def _expiry(done: Mapping[str, Any]) -> dict[str, str]:
    return {"expires_at": str(done["expires_at"])} if done.get("expires_at") else {}


def _expired(done: Mapping[str, Any]) -> bool:
    try:
        end = datetime.fromisoformat(str(done["expires_at"]).replace("Z", "+00:00"))
    except (KeyError, ValueError):
        return False
    return end.replace(tzinfo=end.tzinfo or UTC) < datetime.now(UTC)
