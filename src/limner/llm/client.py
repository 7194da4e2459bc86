"""The client: one request, asked again while the endpoint is busy, and a plain reply.

In: an `Endpoint` and messages. Out: a `Reply`. Speaks POST {base}/chat/completions and
GET {base}/models (OpenAI's API reference; the same in vLLM, llama.cpp, Ollama and LM Studio).
"""

from __future__ import annotations

import email.utils
import json
import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from limner.errors import UsageError, WorkFailedError
from limner.llm.endpoint import LIMITS, Endpoint
from limner.llm.message import Message
from limner.project.rules import values_of

if TYPE_CHECKING:
    import httpx

AGAIN = frozenset((408, 409, 425, 429, 500, 502, 503, 504, 529))
"""Status codes after which asking again may help."""

logging.getLogger("stamina").addHandler(logging.NullHandler())  # its warnings are not for stderr
_KEY_LIKE = re.compile(r"\b(?:sk|hf|gsk|xai|r8|AIza)[-_][A-Za-z0-9_*.-]{6,}|Bearer\s+\S+")
_THOUGHT = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)
_SHOWN = 300  # characters of a server's own words in an error


class EndpointError(WorkFailedError):
    """The endpoint did not answer as it should. `status`: HTTP status, None without an answer."""

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        fix: str | None = None,
        status: int | None = None,
        again: bool = False,
        wait: float | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(what, where=where, fix=fix)
        self.status = status
        self.again = again
        self.wait = wait
        self.detail = dict(detail or {})


@dataclass(frozen=True)
class Reply:
    """What the model said. `cut`: it ended at the token limit. Token counts None = not told.

    dropped: settings the endpoint refused, so that the reply was made without them.
    """

    text: str
    model: str
    finish: str
    cut: bool
    tokens_in: int | None
    tokens_out: int | None
    seconds: float
    dropped: tuple[str, ...] = ()


class Client:
    """A connection to one endpoint; use it as a context manager, from several threads if wished.

    limits: your own values for `LIMITS`.
    """

    def __init__(self, endpoint: Endpoint, limits: Mapping[str, float] | None = None) -> None:
        import httpx

        self.endpoint = endpoint
        self.limits = values_of(LIMITS, limits, "llm.limits")
        headers = {"User-Agent": "limner", "Accept": "application/json"}
        if endpoint.key:
            headers["Authorization"] = f"Bearer {endpoint.key}"
        try:
            self._http: httpx.Client = httpx.Client(
                headers=headers,
                timeout=httpx.Timeout(self.limits["answer_s"], connect=self.limits["connect_s"]),
                follow_redirects=False,  # a redirect must not carry the key elsewhere
                trust_env=not endpoint.local,  # a proxy has no part in talk within this machine
            )
        except (UnicodeError, ValueError):
            raise UsageError(
                f"The key ({endpoint.key_from}) holds characters that no key has",
                fix="Copy the key again, without quotes or line breaks.",
            ) from None

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

    def models(self) -> list[str]:
        """Ids of the models the endpoint serves. Raises EndpointError."""
        found = self._ask("GET", "models").get("data")
        if not isinstance(found, list):
            raise self._odd("a list of models without `data`")
        return [str(m["id"]) for m in found if isinstance(m, Mapping) and m.get("id")]

    def body(
        self,
        messages: Sequence[Message],
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
        seed: int | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The exact JSON that `chat` sends with the same arguments (no key is in it).

        extra: more fields, e.g. `response_format` or vLLM's `repetition_penalty`.
        """
        settings = {
            "temperature": temperature,
            "top_p": top_p,
            "max_tokens": max_tokens,
            "seed": seed,
        }
        given = {k: v for k, v in settings.items() if v is not None}
        return {
            "model": self.model(),
            "messages": list(messages),
            "stream": False,
            **given,
            **(extra or {}),
        }

    def model(self) -> str:
        """The model asked for, or the only one that the endpoint serves. Raises UsageError."""
        if not self.endpoint.model:
            served = self.models()
            if len(served) != 1:
                names = ", ".join(served[:12]) or "none"
                raise UsageError(
                    "Which model shall answer?",
                    where=self.endpoint.url,
                    fix=f"Set LIMNER_LLM_MODEL to one of those served here: {names}.",
                )
            self.endpoint = replace(self.endpoint, model=served[0])
        return self.endpoint.model

    def chat(self, messages: Sequence[Message], **settings: Any) -> Reply:
        """Send messages (settings as in `body`) and return the reply.

        A setting that the model refuses by name is left out and told in `Reply.dropped`. Raises
        EndpointError, UsageError (no model chosen).
        """
        body = self.body(messages, **settings)
        start = time.monotonic()
        dropped: list[str] = []
        while True:
            try:
                answer = self._ask("POST", "chat/completions", body)
                break
            except EndpointError as error:
                refused = _refused_setting(error, body)
                if refused is None:
                    raise
                value = body.pop(refused)
                if refused == "max_tokens" and "max_completion_tokens" in error.what:
                    body["max_completion_tokens"] = value
                else:
                    dropped.append(refused)
        return self._reply(answer, time.monotonic() - start, tuple(dropped))

    def _reply(self, answer: Mapping[str, Any], seconds: float, dropped: tuple[str, ...]) -> Reply:
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, Mapping) else None
        if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
            raise self._odd("an answer without `choices[0].message`")
        if message.get("refusal"):
            raise EndpointError(
                f"The model refused: {self.redact(str(message['refusal']))[:_SHOWN]}",
                where=self.endpoint.url,
                fix="Change the text that is sent, or use another model.",
            )
        text = _THOUGHT.sub("", _text_of(message.get("content"))).strip()
        finish = str(choice.get("finish_reason") or "")
        if not text:
            why = " (the token limit was used up before it said anything)"
            raise EndpointError(
                f"The model said nothing{why if finish == 'length' else ''}",
                where=self.endpoint.url,
                fix="Raise the token limit, or use another model.",
            )
        usage = answer.get("usage")
        usage = usage if isinstance(usage, Mapping) else {}
        return Reply(
            text=text,
            model=str(answer.get("model") or self.endpoint.model),
            finish=finish,
            cut=finish == "length",
            tokens_in=_whole(usage.get("prompt_tokens")),
            tokens_out=_whole(usage.get("completion_tokens")),
            seconds=seconds,
            dropped=dropped,
        )

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """One call, tried again while that may help."""
        import stamina

        def again(error: Exception) -> bool | float:
            if not isinstance(error, EndpointError) or not error.again:
                return False
            if error.wait is None:
                return True
            return min(error.wait, self.limits["longest_wait_s"])

        tries = int(self.limits["attempts"])
        for attempt in stamina.retry_context(
            on=again,
            attempts=tries,
            timeout=None,
            wait_initial=self.limits["first_wait_s"],
            wait_max=self.limits["longest_wait_s"],
            wait_jitter=self.limits["first_wait_s"],
        ):
            with attempt:
                return self._once(method, path, body)
        raise AssertionError("a retry context ends with a value or an error")

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        import httpx

        url = self.endpoint.address(path)
        try:
            with self._http.stream(method, url, json=body) as response:
                content = self._read(response)
        except httpx.TimeoutException:
            raise EndpointError(
                "The endpoint did not answer in time",
                where=self.endpoint.url,
                fix="Is the model loaded? Slow machines need a higher limit answer_s.",
                again=True,
            ) from None
        except httpx.TransportError as error:
            said = self.redact(str(error)) or type(error).__name__
            raise EndpointError(
                f"The endpoint cannot be reached ({said})",
                where=self.endpoint.url,
                fix="Start the server, or correct LIMNER_LLM_URL.",
                again=not isinstance(error, httpx.UnsupportedProtocol | httpx.ProxyError),
            ) from None
        if response.status_code != 200:
            raise self._refusal(response, content)
        try:
            answer = json.loads(content)
        except ValueError:
            raise self._odd("something that is no JSON") from None
        if not isinstance(answer, dict):
            raise self._odd("JSON that is no object")
        if isinstance(answer.get("error"), Mapping | str) and "choices" not in answer:
            raise self._refusal(response, content)
        return answer

    def _read(self, response: httpx.Response) -> bytes:
        most = self.limits["reply_bytes"]
        parts: list[bytes] = []
        size = 0
        for part in response.iter_bytes():
            size += len(part)
            if size > most:
                raise self._odd(f"more than {most / 1e6:g} MB")
            parts.append(part)
        return b"".join(parts)

    def _odd(self, what: str) -> EndpointError:
        return EndpointError(
            f"The endpoint answered with {what}",
            where=self.endpoint.url,
            fix="Is this the address of an OpenAI-compatible server (it usually ends in /v1)?",
        )

    def _refusal(self, response: httpx.Response, content: bytes) -> EndpointError:
        status = response.status_code
        detail = _error_of(content)
        said = self.redact(str(detail.get("message") or "")).strip()[:_SHOWN]
        key = self.endpoint.key_from
        fixes = {
            401: f"The key ({key}) was not accepted." if key else "Set LIMNER_LLM_KEY to your key.",
            403: "The key may not use this model.",
            404: f"Is the address right, and is the model {self.endpoint.model!r} served there?",
            413: "Send a smaller picture (limit picture_side).",
            429: "Too many requests, or no credit left. Wait, or look at your account.",
        }
        moved = "The address redirects; write the address it leads to."
        fix = moved if 300 <= status < 400 else fixes.get(status)
        return EndpointError(
            f"The endpoint answered {status}" + (f": {said}" if said else ""),
            where=self.endpoint.url,
            fix=fix or ("Try again later." if status >= 500 else "See the words of the endpoint."),
            status=status,
            again=status in AGAIN and detail.get("code") != "insufficient_quota",
            wait=_retry_after(response.headers.get("retry-after")),
            detail=detail,
        )

    def redact(self, text: str) -> str:
        """`text` without the key, and without anything that looks like one."""
        if self.endpoint.key:
            text = text.replace(self.endpoint.key, "<key>")
        return _KEY_LIKE.sub("<key>", text)


def _error_of(content: bytes) -> dict[str, Any]:
    """The error a server wrote: OpenAI's object, FastAPI's `detail`, Ollama's string."""
    try:
        answer = json.loads(content)
    except ValueError:
        return {}
    if not isinstance(answer, Mapping):
        return {}
    error = answer.get("error", answer)
    if isinstance(error, Mapping):
        return {"message": error.get("detail"), **error}
    return {"message": error}


def _refused_setting(error: EndpointError, body: Mapping[str, Any]) -> str | None:
    """The optional setting that a 400 names as unsupported."""
    if error.status not in (400, 422):
        return None
    name = error.detail.get("param")
    optional = set(body) - {"model", "messages", "stream"}
    unsupported = "nsupported" in f"{error.what} {error.detail.get('code')}"
    return str(name) if unsupported and name in optional else None


def _text_of(content: Any) -> str:
    """The text of a message: a string, or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = [p.get("text") for p in content if isinstance(p, Mapping)]
        return "".join(p for p in parts if isinstance(p, str))
    return ""


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number or a date (RFC 9110, 10.2.3)."""
    if not value:
        return None
    try:
        return max(float(value), 0.0)
    except ValueError:
        pass
    try:
        at = email.utils.parsedate_to_datetime(value)
    except (TypeError, ValueError):
        return None
    return max(at.timestamp() - time.time(), 0.0)
