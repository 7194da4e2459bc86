"""Talking to a service: requests tried again while that may help, errors without secrets, files
fetched within limits.

In: method, URL, body. Out: JSON or bytes. Shared by every source that speaks HTTP.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from limner.errors import UsageError, WorkFailedError
from limner.project.rules import Rule

if TYPE_CHECKING:
    import httpx

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

T = TypeVar("T")

AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504, 529))
"""Status codes after which asking again may help."""

_SHOWN = 300  # characters of a service's own words in an error


class WireError(WorkFailedError):
    """A request that did not work. status: HTTP status, None without an answer.

    again: asking again may help. reached: False only when surely nothing arrived at the service.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        status: int | None = None,
        again: bool = False,
        said: str = "",
        correlation: str | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.status = status
        self.again = again
        self.said = said
        self.correlation = correlation


@dataclass(frozen=True)
class Answer:
    """JSON of a service. correlation: the id its support asks for."""

    data: Any
    correlation: str | None = None


@dataclass
class Wire:
    """Connections to one service; used from several threads. secrets: never shown in any text."""

    base_url: str
    limits: Mapping[str, float]
    secrets: tuple[str, ...] = field(default=(), repr=False)
    service: str = "The service"
    stopped: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        import httpx

        # retries are no news for a terminal that expects nothing but our own words
        logging.getLogger("stamina").addHandler(logging.NullHandler())
        local = is_local(self.base_url)
        timeout = httpx.Timeout(self.limits["answer_s"], connect=self.limits["connect_s"])
        self._http = httpx.Client(
            headers={"User-Agent": "limner"},
            timeout=timeout,
            follow_redirects=False,  # a redirect must not carry the key elsewhere
            trust_env=not local,
        )

    def close(self) -> None:
        """End the connections; safe to call twice."""
        self._http.close()

    def wait(self, seconds: float) -> bool:
        """Sleep; True at once when the run is stopped."""
        return self.stopped.wait(seconds)

    def ask(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str],
        body: Any = None,
        once: bool = False,
    ) -> Answer:
        """One JSON call. once: never sent twice (it has no idempotency). Raises WireError."""
        url = f"{self.base_url.rstrip('/')}/{path.lstrip('/')}"
        content = None if body is None else json.dumps(body).encode()
        sent = {**headers, **({} if content is None else {"Content-Type": "application/json"})}

        def call() -> Answer:
            response, data = self._send(method, url, sent, content, self.limits["reply_bytes"])
            return self._answer(response, data, path)

        return call() if once else self._retried(call)

    def put(self, url: str, data: bytes, headers: Mapping[str, str]) -> None:
        """Upload bytes to an address the service gave. Raises WireError."""
        self._check_address(url)

        def call() -> None:
            response, said = self._send("PUT", url, headers, data, self.limits["reply_bytes"])
            if response.status_code >= 300:  # a file store's 403 is not the account's
                refusal = self._refusal(response, said, "the upload")
                fix = "Run the same command again: a new address is asked for."
                raise WireError(refusal.what, where=refusal.where, fix=fix, again=refusal.again)

        self._retried(call)

    def fetch(self, url: str) -> bytes:
        """A file the service made, without the key. Raises WireError; status 403, 404 or 410 mean
        that the link has expired."""
        self._check_address(url)

        def call() -> bytes:
            response, data = self._send("GET", url, {}, None, self.limits["file_bytes"])
            if response.status_code != 200:
                raise self._refusal(response, b"", "the picture's link")
            return data

        return self._retried(call)

    def _retried(self, call: Callable[[], T]) -> T:
        import stamina

        def again(error: Exception) -> bool:
            return isinstance(error, WireError) and error.again and not self.stopped.is_set()

        for attempt in stamina.retry_context(
            on=again,
            attempts=int(self.limits["attempts"]),
            timeout=None,
            wait_initial=self.limits["first_wait_s"],
            wait_max=self.limits["longest_wait_s"],
            wait_jitter=self.limits["first_wait_s"],
        ):
            with attempt:
                return call()
        raise AssertionError("a retry context ends with a value or an error")

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, most: float
    ) -> tuple[httpx.Response, bytes]:
        import httpx

        try:
            with self._http.stream(method, url, headers=headers, content=body) as response:
                return response, self._read(response, most)
        except httpx.TimeoutException:
            raise WireError(
                f"{self.service} did not answer in time",
                where=self._shown(url),
                fix="Look at your connection and the service's status page, then run this again.",
                again=True,
            ) from None
        except httpx.HTTPError as error:
            said = self.redact(str(error)) or type(error).__name__
            raise WireError(
                f"{self.service} cannot be reached ({said})",
                where=self._shown(url),
                fix="Look at your connection and at the address, then run this again.",
                again=isinstance(error, httpx.TransportError)
                and not isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError),
            ) from None

    def _read(self, response: httpx.Response, most: float) -> bytes:
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > most:
                raise WireError(
                    f"{self.service} sent more than {most / 1e6:g} MB",
                    where=self._shown(str(response.url)),
                    fix="Raise source.limits in character.yaml if that is right.",
                )
            parts.append(part)
        return b"".join(parts)

    def _answer(self, response: httpx.Response, data: bytes, path: str) -> Answer:
        correlation = response.headers.get("X-Correlation-ID")
        if not 200 <= response.status_code < 300:
            raise self._refusal(response, data, path)
        if not data:
            return Answer(None, correlation)
        try:
            return Answer(json.loads(data), correlation)
        except ValueError:
            raise WireError(
                f"{self.service} answered with something that is no JSON",
                where=self._shown(str(response.url)),
                fix="Is this the address of the service, or of a proxy before it?",
                status=response.status_code,
                correlation=correlation,
            ) from None

    def _refusal(self, response: httpx.Response, data: bytes, what: str) -> WireError:
        status = response.status_code
        said = self.redact(_words(data))[:_SHOWN]
        return WireError(
            f"{self.service} answered {status} to {what}" + (f": {said}" if said else ""),
            where=self._shown(str(response.url)),
            status=status,
            again=status in AGAIN,
            said=said,
            correlation=response.headers.get("X-Correlation-ID"),
        )

    def _check_address(self, url: str) -> None:
        """A service's own links lead over https, or stay where the service itself is plain."""
        parts = urlsplit(url)
        plain = parts.scheme == "http" and is_local(url) and is_local(self.base_url)
        if parts.scheme != "https" and not plain:
            raise WireError(f"{self.service} gave a link that is not https", where=self._shown(url))

    def redact(self, text: str) -> str:
        """`text` without any secret."""
        for secret in self.secrets:
            text = text.replace(secret, "<key>")
        return text

    def _shown(self, url: str) -> str:
        """An address without its query: signed links are secrets for a while."""
        return self.redact(url.split("?")[0])


def _words(data: bytes) -> str:
    """What a service says about a refusal: FastAPI's `detail` as text or list, or plain text."""
    try:
        found = json.loads(data)
    except ValueError:
        text = data.decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else " ".join(text.split())
    detail = found.get("detail", found.get("error", "")) if isinstance(found, Mapping) else found
    if isinstance(detail, list):
        return "; ".join(_one(entry) for entry in detail)
    return str(detail or "")


def _one(entry: Any) -> str:
    if not isinstance(entry, Mapping):
        return str(entry)
    place = ".".join(str(part) for part in entry.get("loc", ()) if part != "body")
    return f"{place}: {entry.get('msg', '')}" if place else str(entry.get("msg", entry))


def is_local(url: str) -> bool:
    """Whether an address is on this machine."""
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host.startswith("127.") or host == "::1"


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
