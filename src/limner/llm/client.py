"""The client: one request, asked again while the endpoint is busy, and a plain reply.

In: an `Endpoint` and messages. Out: a `Reply`. Speaks POST {base}/chat/completions and
GET {base}/models (OpenAI's API reference; the same in vLLM, llama.cpp, Ollama and LM Studio).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

from limner.errors import UsageError
from limner.llm.endpoint import LIMITS, Endpoint
from limner.llm.message import Message
from limner.net import AGAIN, SHOWN, Answer, Link, NetError, Trouble
from limner.project.rules import values_of

AGAIN_HERE = AGAIN | {409}
"""Chat servers say 409 for a lock that is released in a moment (OpenAI's client asks again too)."""

_THOUGHT = re.compile(r"^\s*<think>.*?</think>\s*", re.DOTALL)
_FIXES: dict[Trouble, str] = {
    "slow": "Is the model loaded? Slow machines need a higher limit answer_s.",
    "down": "Start the server, or correct LIMNER_LLM_URL.",
    "large": "Is this the address of an OpenAI-compatible server (it usually ends in /v1)?",
}


class EndpointError(NetError):
    """The endpoint did not answer as it should. `detail`: the error object it wrote, if any."""

    def __init__(self, what: str, *, detail: Mapping[str, Any] | None = None, **more: Any) -> None:
        super().__init__(what, **more)
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
        self.endpoint = endpoint
        self.limits = values_of(LIMITS, limits, "llm.limits")
        headers = {"Accept": "application/json"}
        if endpoint.key:
            headers["Authorization"] = f"Bearer {endpoint.key}"
        try:
            self._link = Link(
                "The endpoint",
                endpoint.url,
                self.limits,
                headers=headers,
                secrets=(endpoint.key,) if endpoint.key else (),
                error=self._error,
                fixes=_FIXES,
            )
        except UsageError as error:
            what = f"The key ({endpoint.key_from}) holds characters that no key has"
            raise UsageError(what, fix=error.fix) from None

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
        self._link.close()

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
                f"The model refused: {self.redact(str(message['refusal']))[:SHOWN]}",
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
        return self._link.again(lambda: self._once(method, path, body))

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        said = self._link.send(method, path, body=body)
        if said.status != 200:
            raise self._refusal(said)
        try:
            answer = said.json()
        except ValueError:
            raise self._odd("something that is no JSON") from None
        if not isinstance(answer, dict):
            raise self._odd("JSON that is no object")
        if isinstance(answer.get("error"), Mapping | str) and "choices" not in answer:
            raise self._refusal(said)
        return answer

    def _error(self, what: str, **more: Any) -> EndpointError:
        """Errors name the address a person set, not the route behind it."""
        return EndpointError(what, **{**more, "where": self.endpoint.url})

    def _odd(self, what: str) -> EndpointError:
        return EndpointError(
            f"The endpoint answered with {what}",
            where=self.endpoint.url,
            fix="Is this the address of an OpenAI-compatible server (it usually ends in /v1)?",
        )

    def _refusal(self, answer: Answer) -> EndpointError:
        status = answer.status
        detail = _error_of(answer)
        said = self.redact(str(detail.get("message") or "")).strip()[:SHOWN]
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
            again=status in AGAIN_HERE and detail.get("code") != "insufficient_quota",
            wait=answer.wait,
            detail=detail,
        )

    def redact(self, text: str) -> str:
        """`text` without the key, and without anything that looks like one."""
        return self._link.redact(text)


def _error_of(answer: Answer) -> dict[str, Any]:
    """The error a server wrote: OpenAI's object, FastAPI's `detail`, Ollama's string."""
    try:
        found = answer.json()
    except ValueError:
        return {}
    if not isinstance(found, Mapping):
        return {}
    error = found.get("error", found)
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
