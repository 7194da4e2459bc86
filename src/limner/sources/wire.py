"""Talking to a service over `limner.net`: its numbers, its correlation ids, its links.

In: method, path, body. Out: JSON or bytes. Shared by every source that asks a service for pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from limner.errors import UsageError
from limner.net import Link, NetError, Trouble, is_local
from limner.project.rules import Rule

LIMITS: dict[str, Rule] = {
    "connect_s": Rule(15, "starting value", "ours", "seconds to reach a service"),
    "answer_s": Rule(90, "published", "official client 0.2.0", "seconds until an answer"),
    "attempts": Rule(5, "starting value", "ours", "times a request is tried"),
    "first_wait_s": Rule(1, "starting value", "ours", "seconds before the second try"),
    "longest_wait_s": Rule(20, "starting value", "ours", "seconds between two tries at most"),
    "poll_first_s": Rule(2, "published", "documentation: 2 to 10 s", "first wait for a picture"),
    "poll_longest_s": Rule(10, "published", "documentation: 2 to 10 s", "longest wait between"),
    "job_s": Rule(900, "starting value", "ours", "seconds a picture is waited for in one run"),
    "soul_id_s": Rule(3600, "starting value", "guide: about 5 min", "seconds for a Soul ID"),
    "slot_tries": Rule(8, "starting value", "ours", "times a refused order waits for a slot"),
    "slot_s": Rule(600, "starting value", "ours", "seconds an order waits for own slots"),
    "file_bytes": Rule(100_000_000, "starting value", "ours", "largest picture file fetched"),
    "reply_bytes": Rule(8_000_000, "starting value", "ours", "largest other answer read"),
}
"""Every number a service is spoken to by; `source.limits` changes them."""

CORRELATION = "x-correlation-id"

FIXES: dict[Trouble, str] = {
    "slow": "Look at your connection and the service's status page, then run this again.",
    "large": "Raise source.limits in character.yaml if that is right.",
}


class WireError(NetError):
    """A request to a service that did not work. correlation: the id its support asks for."""

    correlation: str | None = None


@dataclass(frozen=True)
class Reply:
    """JSON of a service. correlation: the id its support asks for."""

    data: Any
    correlation: str | None = None


class Wire(Link):
    """Connections to one service. secrets: never shown in any text."""

    def __init__(
        self,
        base_url: str,
        limits: Mapping[str, float],
        secrets: tuple[str, ...] = (),
        service: str = "The service",
    ) -> None:
        super().__init__(service, base_url, limits, secrets=secrets, error=WireError, fixes=FIXES)

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Any = None,
        once: bool = False,
    ) -> Reply:
        """One JSON call. once: never sent twice (it has no idempotency). Raises WireError."""

        def call() -> Reply:
            answer = self.send(method, path, headers=headers, body=body)
            correlation = answer.headers.get(CORRELATION)
            try:
                return Reply(self.read_json(answer, path), correlation)
            except WireError as error:
                error.correlation = correlation
                raise

        return call() if once else self.again(call)

    def put(self, url: str, data: bytes, headers: Mapping[str, str]) -> None:
        """Upload bytes to an address the service gave. Raises WireError."""
        self._check_address(url)

        def call() -> None:
            answer = self.send("PUT", url, data=data, headers=headers)
            if answer.status >= 300:  # a file store's 403 is not the account's
                refusal = self.refusal(answer, "the upload")
                refusal.status = None
                refusal.fix = "Run the same command again: a new address is asked for."
                raise refusal

        self.again(call)

    def fetch(self, path: str, *, called: str = "the picture's link", **more: Any) -> bytes:
        """A file the service made, without the key. Raises WireError; status 403, 404 or 410 mean
        that the link has expired."""
        self._check_address(path)
        return super().fetch(path, called=called, **more)

    def _check_address(self, url: str) -> None:
        """A service's own links lead over https, or stay where the service itself is plain."""
        parts = urlsplit(url)
        plain = parts.scheme == "http" and is_local(url) and is_local(self.base_url)
        if parts.scheme != "https" and not plain:
            raise WireError(f"{self.name} gave a link that is not https", where=self.shown(url))


def clean_base_url(text: str, default: str) -> str:
    """An address a person gave, without a trailing slash. Raises UsageError."""
    given = text.strip() or default
    try:
        parts = urlsplit(given)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username or parts.password or parts.query:
        raise UsageError(
            "This is no address of a service",
            where="--base-url",
            fix=f"Write it like {default}, without keys in it.",
        )
    if parts.scheme == "http" and not is_local(given):
        raise UsageError("The keys would be sent unencrypted", where="--base-url", fix="Use https.")
    return given.rstrip("/")
