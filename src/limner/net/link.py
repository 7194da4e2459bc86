"""Connections to one server: one request read up to a size, asked again while that may help.

In: method, path, body. Out: an `Answer`, JSON or bytes, or a `NetError` that says what to do.
"""

from __future__ import annotations

import email.utils
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

from limner.errors import UsageError, WorkFailedError
from limner.net.safe import is_local, redact, without_secrets

if TYPE_CHECKING:
    import httpx

AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504, 529))
"""Status codes after which asking again may help (RFC 9110; 529 is "overloaded" by custom)."""

SHOWN = 300
"""Characters of a server's own words in an error."""

Trouble = Literal["slow", "down", "large", "odd"]
"""No answer in time; no connection; more than the limit; not what was asked for."""

T = TypeVar("T")

_FIXES: dict[Trouble, str] = {
    "slow": "Look at your connection and at the server, then run this again.",
    "down": "Look at your connection and at the address, then run this again.",
    "large": "Raise its limit if that is right.",
    "odd": "Is this the address of the service, or of a proxy before it?",
}


class NetError(WorkFailedError):
    """A request that did not work. status: HTTP status, None without an answer.

    again: asking again may help. wait: seconds that the server asked to wait. said: its own words,
    without secrets. reached: False only when surely nothing arrived at the server.
    """

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        status: int | None = None,
        again: bool = False,
        wait: float | None = None,
        said: str = "",
        reached: bool = True,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.status = status
        self.again = again
        self.wait = wait
        self.said = said
        self.reached = reached


@dataclass(frozen=True)
class Answer:
    """What a server sent. headers: by lower-case name. address: without query."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    address: str

    @property
    def good(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def wait(self) -> float | None:
        """Seconds the server asks to wait before the next try."""
        return retry_after(self.headers.get("retry-after"))

    def json(self) -> Any:
        """The content as JSON. Raises ValueError."""
        return json.loads(self.content)

    def words(self) -> str:
        """What the server says about a refusal, in one line; empty for a page of HTML.

        Knows OpenAI's error object, FastAPI's `detail` (text or list), Ollama's and ComfyUI's
        `error`, and plain text.
        """
        try:
            found = self.json()
        except ValueError:
            text = self.content.decode("utf-8", "replace").strip()
            return "" if text.startswith("<") else " ".join(text.split())
        detail = _detail(found)
        return "; ".join(map(_one, detail)) if isinstance(detail, list) else str(detail or "")


class Link:
    """One server. Used from several threads; a context manager, or `close` it.

    limits: connect_s, answer_s, attempts, first_wait_s, longest_wait_s, reply_bytes and, for
    `fetch`, file_bytes. headers go with every request to this server and with none elsewhere.
    error: makes what is raised, usually a subclass of NetError. fixes: Trouble -> what to do.
    stopped: nothing is asked again once it is set.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        limits: Mapping[str, float],
        *,
        headers: Mapping[str, str] | None = None,
        secrets: tuple[str, ...] = (),
        error: Callable[..., NetError] = NetError,
        fixes: Mapping[Trouble, str] | None = None,
        stopped: threading.Event | None = None,
    ) -> None:
        import httpx

        # retries are no news for a terminal that expects nothing but our own words
        logging.getLogger("stamina").addHandler(logging.NullHandler())
        self.name = name
        self.base_url = base_url.rstrip("/")
        self.limits = limits
        self.secrets = secrets
        self.error = error
        self.fixes: dict[Trouble, str] = {**_FIXES, **(fixes or {})}
        self.stopped = stopped or threading.Event()
        self._headers = dict(headers or {})
        if not all(v.isascii() and v.isprintable() for v in self._headers.values()):
            raise UsageError(
                f"{name} cannot be sent this key: it holds characters that no key has",
                fix="Copy the key again, without quotes or line breaks.",
            )
        self._http = httpx.Client(
            headers={"User-Agent": "limner"},
            timeout=httpx.Timeout(limits["answer_s"], connect=limits["connect_s"]),
            follow_redirects=False,  # a redirect must not carry the key elsewhere
            trust_env=not is_local(base_url),  # a proxy has no part in talk within this machine
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the connections; safe to call twice."""
        self._http.close()

    def wait(self, seconds: float) -> bool:
        """Sleep; True at once when the run is stopped."""
        return self.stopped.wait(seconds)

    def address(self, path: str, query: Mapping[str, str] | None = None) -> str:
        """The address of a path on this server (a query of the base stays); whole ones as is."""
        if "://" not in path:
            parts = urlsplit(self.base_url)
            place, _, asked = path.partition("?")
            whole = f"{parts.path.rstrip('/')}/{place.lstrip('/')}"
            both = "&".join(q for q in (parts.query, asked) if q)
            path = urlunsplit((parts.scheme, parts.netloc, whole, both, ""))
        if not query:
            return path
        return f"{path}{'&' if '?' in path else '?'}{urlencode(query, quote_via=quote)}"

    def send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        data: bytes | None = None,
        files: Mapping[str, tuple[str, bytes, str]] | None = None,
        form: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        most: float | None = None,
    ) -> Answer:
        """One request, once: the answer, whatever its status.

        path: on this server, or a whole address, which gets none of this link's headers unless it
        is the same server. body: sent as JSON; data: as it is; files: field -> (name, bytes, type),
        as a form with `form`. most: largest answer in bytes, else limit reply_bytes. Raises the
        link's error (slow, down, large).
        """
        import httpx

        url = self.address(path, query)
        own = self._headers if urlsplit(url).netloc == urlsplit(self.base_url).netloc else {}
        sent = {**own, **(headers or {})}
        content = data if body is None else json.dumps(body).encode()
        if body is not None:
            sent["Content-Type"] = "application/json"
        try:
            with self._http.stream(
                method, url, headers=sent, content=content, files=files, data=form
            ) as response:
                return self._read(response, most or self.limits["reply_bytes"])
        except httpx.TimeoutException as error:
            raise self.trouble(
                "slow",
                "did not answer in time",
                url,
                again=True,
                reached=not isinstance(error, httpx.ConnectTimeout | httpx.PoolTimeout),
            ) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            said = self.redact(str(error)) or type(error).__name__
            raise self.trouble(
                "down",
                f"cannot be reached ({said})",
                url,
                again=isinstance(error, httpx.TransportError)
                and not isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError),
                reached=not isinstance(
                    error, httpx.ConnectError | httpx.UnsupportedProtocol | httpx.InvalidURL
                ),
            ) from None

    def json(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        once: bool = False,
        **more: Any,
    ) -> Any:
        """The JSON of a good answer; None for an empty one. `more` as in `send`.

        once: never sent twice (it has no idempotency). Raises the link's error.
        """

        def call() -> Any:
            return self.read_json(self.send(method, path, body=body, **more), path)

        return call() if once else self.again(call)

    def read_json(self, answer: Answer, path: str) -> Any:
        """The JSON of a good answer, None for an empty one. Raises the link's error."""
        if not answer.good:
            raise self.refusal(answer, path.split("?")[0])
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError:
            what = "answered with something that is no JSON"
            raise self.trouble("odd", what, answer.address, status=answer.status) from None

    def fetch(self, path: str, *, called: str = "", **more: Any) -> bytes:
        """A file, up to limit file_bytes. `more` as in `send`. Raises the link's error.

        called: the file's name in errors, in place of its path. What a file store says about a
        whole address is not shown: it may quote the signature.
        """
        elsewhere = "://" in path

        def call() -> bytes:
            answer = self.send("GET", path, most=self.limits["file_bytes"], **more)
            if answer.status != 200:
                told = replace(answer, content=b"") if elsewhere else answer
                raise self.refusal(told, called or self.shown(path))
            return answer.content

        return self.again(call)

    def again(self, call: Callable[[], T]) -> T:
        """`call`, repeated while its error says that this may help; waits grow, and a server's
        Retry-After is kept up to limit longest_wait_s."""
        import stamina

        def helps(error: Exception) -> bool | float:
            if not isinstance(error, NetError) or not error.again or self.stopped.is_set():
                return False
            return True if error.wait is None else min(error.wait, self.limits["longest_wait_s"])

        for attempt in stamina.retry_context(
            on=helps,
            attempts=int(self.limits["attempts"]),
            timeout=None,
            wait_initial=self.limits["first_wait_s"],
            wait_max=self.limits["longest_wait_s"],
            wait_jitter=self.limits["first_wait_s"],
        ):
            with attempt:
                return call()
        raise AssertionError("a retry context ends with a value or an error")

    def refusal(self, answer: Answer, to: str, fix: str | None = None) -> NetError:
        """The error for an answer of a bad status, to be raised; `to`: what was asked."""
        said = self.redact(answer.words())[:SHOWN]
        return self.error(
            f"{self.name} answered {answer.status} to {to}" + (f": {said}" if said else ""),
            where=self.shown(answer.address),
            fix=fix,
            status=answer.status,
            again=answer.status in AGAIN,
            wait=answer.wait,
            said=said,
        )

    def trouble(self, kind: Trouble, what: str, url: str, **more: Any) -> NetError:
        """The error for a trouble, to be raised; `more` as in `NetError`."""
        fix = self.fixes[kind]
        return self.error(f"{self.name} {what}", where=self.shown(url), fix=fix, **more)

    def redact(self, text: str) -> str:
        """`text` without any secret of this link."""
        return redact(text, self.secrets)

    def shown(self, url: str) -> str:
        """An address as it may be shown."""
        return self.redact(without_secrets(url))

    def _read(self, response: httpx.Response, most: float) -> Answer:
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > most:
                raise self.trouble("large", f"sent more than {most / 1e6:g} MB", str(response.url))
            parts.append(part)
        headers = {k.lower(): v for k, v in response.headers.items()}
        return Answer(
            response.status_code, headers, b"".join(parts), without_secrets(str(response.url))
        )


def retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    try:
        seconds = float(value)
        return max(seconds, 0.0) if seconds == seconds else None
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(at.timestamp() - time.time(), 0.0)


def _detail(found: Any) -> Any:
    """The part of an error object that holds its words."""
    if not isinstance(found, Mapping):
        return found
    detail = found.get("detail") or found.get("error") or found.get("message")
    if isinstance(detail, Mapping):
        return detail.get("message") or detail.get("detail") or dict(detail)
    return detail


def _one(entry: Any) -> str:
    """One entry of FastAPI's list of faults."""
    if not isinstance(entry, Mapping):
        return str(entry)
    place = ".".join(str(part) for part in entry.get("loc", ()) if part != "body")
    return f"{place}: {entry.get('msg', '')}" if place else str(entry.get("msg", entry))
