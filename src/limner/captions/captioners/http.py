"""A captioner behind an OpenAI-compatible endpoint, through `limner.llm`.

In: settings, prompt, a picture. Out: the model's words. Serves JoyCaption on vLLM, Qwen-VL, Ollama,
LM Studio and hosted models alike; the key comes from the environment only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from limner import llm
from limner.captions.captioners.interface import CaptionerSettings, Said
from limner.captions.captioners.prompt import Prompt
from limner.errors import UsageError

NOWHERE = "http://no-endpoint-is-set.invalid/v1"
"""What a request is shown with while no endpoint is set (RFC 2606: never resolved)."""
ANY_MODEL = "(the model that the endpoint serves)"


class HttpCaptioner:
    """See the module. Raises UsageError when no endpoint is set, InputError for a wrong address.

    only_shown: nothing will be sent, so no endpoint need be set.
    """

    def __init__(
        self, settings: CaptionerSettings, prompt: Prompt, *, only_shown: bool = False
    ) -> None:
        self._settings, self._prompt = settings, prompt
        try:
            endpoint = llm.find_endpoint(
                settings.url or None, settings.model or None, from_file=settings.from_file
            )
        except UsageError:
            if not only_shown:
                raise
            endpoint = llm.Endpoint(NOWHERE, settings.model or ANY_MODEL)
        self._client = llm.Client(endpoint)

    @property
    def identity(self) -> dict[str, Any]:
        """Endpoint, model and what its words depend on; no key."""
        return {
            "kind": "http",
            "url": self._client.endpoint.url,
            "model": self._client.model(),
            "prompt_sha256": self._prompt.sha256,
            "picture_side": self._settings.picture_side,
            **self._sampling(0),
        }

    def _sampling(self, attempt: int) -> dict[str, Any]:
        given = self._settings
        return {
            "temperature": given.temperature,
            "top_p": given.top_p,
            "max_tokens": given.max_tokens,
            "seed": given.seed + attempt,
        }

    def _messages(self, picture: Path) -> list[llm.Message]:
        asked = llm.user(self._prompt.text, llm.picture(picture, self._settings.picture_side))
        return [*([llm.system(self._prompt.system)] if self._prompt.system else []), asked]

    def request(self, picture: Path) -> dict[str, Any]:
        """The JSON body that `caption` posts, the picture shortened to its size."""
        body = self._client.body(self._messages(picture), **self._sampling(0))
        shown: dict[str, Any] = llm.shown(body)
        return {"url": self._client.endpoint.address("chat/completions"), "body": shown}

    def caption(self, picture: Path, attempt: int = 0) -> Said:
        """Ask once. Raises EndpointError when the endpoint does not answer as it should."""
        reply = self._client.chat(self._messages(picture), **self._sampling(attempt))
        return Said(reply.text, reply.model, reply.cut, reply.dropped)

    def close(self) -> None:
        """End the connection."""
        self._client.close()
