"""A thin client of the Higgsfield API: submit, status, estimate, references, upload.

In: keys and bodies. Out: JSON. Not the official package: that one sends a paid order three times
when the service stumbles, without an idempotency key.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from limner.errors import WorkFailedError
from limner.project.rules import values_of
from limner.sources.higgsfield.keys import Keys
from limner.sources.source import LaterError
from limner.sources.wire import LIMITS, Reply, Wire, WireError, clean_base_url

BASE_URL = "https://api.higgsfield.ai"
BASE_URL_NAME = "HIGGSFIELD_BASE_URL"
PAGE = 50
"""References asked for at a time."""


class Api:
    """One account. base_url: only from the person at the keyboard, because the keys go there."""

    def __init__(
        self, keys: Keys, *, base_url: str | None = None, limits: Mapping[str, float] | None = None
    ) -> None:
        address = clean_base_url(base_url or os.environ.get(BASE_URL_NAME, ""), BASE_URL)
        self.keys = keys
        self.limits = values_of(LIMITS, limits, "source.limits")
        self.wire = Wire(address, self.limits, keys.secrets, "Higgsfield")

    def close(self) -> None:
        """End the connections; safe to call twice."""
        self.wire.close()

    def estimate(self, model: str, body: Mapping[str, Any]) -> Reply:
        """What an order would cost: {credits, usd} as text. Nothing is ordered."""
        return self._model("POST", f"estimate/{model}", body)

    def submit(self, model: str, body: Mapping[str, Any], key: str) -> Reply:
        """Order pictures. The same key with the same body is the same order, paid once."""
        return self._model("POST", model, body, {"Idempotency-Key": key})

    def status(self, request_id: str) -> Reply:
        """{status, images, expires_at, error}."""
        return self._model("GET", f"requests/{request_id}/status")

    def _model(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        more: Mapping[str, str] | None = None,
    ) -> Reply:
        headers = {**self.keys.model_headers(), **(more or {})}
        return self.wire.ask(method, path, headers=headers, body=body)

    def _v1(self, method: str, path: str, body: Any = None, *, once: bool = False) -> Reply:
        """The older routes: the header pair, and on 401 the newer header."""
        try:
            headers = self.keys.pair_headers()
            return self.wire.ask(method, path, headers=headers, body=body, once=once)
        except WireError as error:
            if error.status != 401:
                raise
        headers = self.keys.model_headers()
        return self.wire.ask(method, path, headers=headers, body=body, once=once)

    def upload(self, data: bytes, content_type: str) -> str:
        """Put a picture where the service can read it; returns its address."""
        answer = self._model("POST", "files/generate-upload-url", {"content_type": content_type})
        found = answer.data if isinstance(answer.data, Mapping) else {}
        if not found.get("upload_url") or not found.get("public_url"):
            raise WorkFailedError("Higgsfield gave no address for the upload")
        # the address is signed: the account's key must not go there, the headers it names must
        headers = found.get("upload_headers") or {"Content-Type": content_type}
        self.wire.put(str(found["upload_url"]), data, headers)
        return str(found["public_url"])

    def create_reference(self, name: str, version: str, urls: list[str]) -> dict[str, Any]:
        """Begin a Soul ID. Never sent twice: this call has no idempotency."""
        pictures = [{"type": "image_url", "image_url": url} for url in urls]
        body = {"name": name, "model_version": version, "input_images": pictures}
        return _mapping(self._v1("POST", "v1/custom-references", body, once=True))

    def reference(self, reference_id: str) -> dict[str, Any]:
        """{id, name, model_version, status, fail_reason}."""
        return _mapping(self._v1("GET", f"v1/custom-references/{reference_id}"))

    def references(self) -> Iterator[dict[str, Any]]:
        """All Soul IDs of the account."""
        page, seen = 1, 0
        while True:
            path = f"v1/custom-references/list?page={page}&page_size={PAGE}"
            found = _mapping(self._v1("GET", path))
            items = [i for i in found.get("items") or [] if isinstance(i, Mapping)]
            yield from (dict(i) for i in items)
            seen += len(items)
            total = found.get("total")
            if not items or (isinstance(total, int) and seen >= total) or len(items) < PAGE:
                return
            page += 1


def _mapping(answer: Reply) -> dict[str, Any]:
    if not isinstance(answer.data, Mapping):
        raise WorkFailedError("Higgsfield answered with something else than was asked for")
    return dict(answer.data)


ADVICE: dict[int, tuple[str, str, bool]] = {
    400: (
        "Higgsfield rejected the request",
        "Change what it names in source.higgsfield or in the prompt; nothing was paid.",
        False,
    ),
    401: (
        "Higgsfield did not accept the keys",
        "Check both parts of the key in Higgsfield's developer console; they are no Hugging Face "
        "token.",
        True,
    ),
    403: (
        "Higgsfield refused: usually the credits are used up",
        "Look at the account's credits and top up, then run the same command again. If there are "
        "credits, a proxy or firewall on the way may have answered instead.",
        True,
    ),
    404: (
        "Higgsfield does not know this model or order",
        "Check source.higgsfield.model, and that the keys belong to the account of the Soul ID and "
        "of the orders under way.",
        True,
    ),
    422: (
        "Higgsfield found the order itself wrong",
        "Compare source.higgsfield in character.yaml with the model: does the Soul ID belong to "
        "this family?",
        False,
    ),
    423: (
        "Higgsfield has blocked this model for a while",
        "Run the same command again later, or choose another source.higgsfield.model.",
        True,
    ),
    429: ("Higgsfield is asked too often", "Wait a minute and run the same command again.", True),
}
"""HTTP status -> what it means, what to do, and whether every other order would meet it too."""


def advise(error: WireError, key_from: str = "") -> WorkFailedError:
    """An error of the service as one a user can act on: LaterError where the order may stand."""
    meaning, fix, stop = ADVICE.get(error.status or 0, ("", "", True))
    where = error.where
    if error.correlation:
        where = f"{where}, correlation id {error.correlation}"
    said = f" ({error.said})" if error.said else ""
    if error.status == 401 and key_from:
        fix = f"The keys came from {key_from}. {fix}"
    if meaning and stop:
        return LaterError(f"{meaning}{said}", where=where, fix=fix, stop=True)
    if meaning:
        return WorkFailedError(f"{meaning}{said}", where=where, fix=fix)
    if error.again or error.status is None:
        fix = error.fix or "Run the same command again later; nothing is paid twice."
        return LaterError(error.what, where=where, fix=fix, stop=True)
    return WorkFailedError(error.what, where=where, fix=error.fix)
