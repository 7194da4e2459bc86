"""An OpenAI-compatible chat server: checks requests as the real ones do, answers as told.

`ChatServer(answer)`: `answer(body) -> text | dict`. `faults`: what happens first, one a request.
"""

from __future__ import annotations

import base64
import binascii
import io
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from PIL import Image

_KNOWN = {
    *("model", "messages", "stream", "temperature", "top_p", "max_tokens", "seed", "stop"),
    *("max_completion_tokens", "response_format", "repetition_penalty", "n"),
}


@dataclass
class Fault:
    """One bad answer. status 0 = the line is cut; `raw` is sent instead of an error object."""

    status: int = 500
    message: str = "the engine is overloaded"
    code: str | None = None
    param: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    delay: float = 0.0


class ChatServer:
    """Runs in a thread; `requests` holds (path, headers, body) of everything that came."""

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], Any] = lambda body: "a picture",
        *,
        key: str | None = None,
        models: tuple[str, ...] = ("tiny-vl",),
        faults: list[Fault] | None = None,
    ) -> None:
        self.answer, self.key, self.models = answer, key, models
        self.faults = list(faults or [])
        self.requests: list[tuple[str, dict[str, str], dict[str, Any]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._serve(self, None)

            def do_POST(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                outer._serve(self, self.rfile.read(size))

            def log_message(self, *_: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def pictures(self) -> list[Image.Image]:
        """Every picture that was sent, decoded."""
        found = []
        for _, _, body in self.requests:
            for message in body.get("messages", []):
                parts = message["content"] if isinstance(message["content"], list) else []
                found += [_picture(p) for p in parts if p["type"] == "image_url"]
        return found

    def _serve(self, handler: BaseHTTPRequestHandler, data: bytes | None) -> None:
        body = json.loads(data) if data else {}
        self.requests.append((handler.path, dict(handler.headers), body))
        status, value, headers = self._decide(handler, body)
        if status == 0:
            handler.close_connection = True
            return
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        handler.send_response(status)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        for name, text in headers.items():
            handler.send_header(name, text)
        handler.end_headers()
        handler.wfile.write(content)

    def _decide(
        self, handler: BaseHTTPRequestHandler, body: dict[str, Any]
    ) -> tuple[int, Any, dict[str, str]]:
        if self.faults:
            fault = self.faults.pop(0)
            time.sleep(fault.delay)
            value = _error(fault.message, fault.code, fault.param)
            return fault.status, fault.raw if fault.raw is not None else value, fault.headers
        sent = (handler.headers.get("Authorization") or "").removeprefix("Bearer ")
        if self.key is not None and sent != self.key:
            return 401, _error(f"Incorrect API key provided: {sent}.", "invalid_api_key"), {}
        if handler.path == "/v1/models":
            data = [{"id": m, "object": "model"} for m in self.models]
            return 200, {"object": "list", "data": data}, {}
        if handler.path != "/v1/chat/completions":
            return 404, {"detail": "Not Found"}, {}
        if wrong := self._wrong(body):
            return wrong
        said = self.answer(body)
        return 200, said if isinstance(said, dict) else completion(str(said), body["model"]), {}

    def _wrong(self, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]] | None:
        if body.get("model") not in self.models:
            text = f"The model `{body.get('model')}` does not exist"
            return 404, _error(text, "model_not_found", "model"), {}
        if unknown := set(body) - _KNOWN:
            name = min(unknown)
            return 400, _error(f"Unrecognized request argument: {name}", None, name), {}
        messages = body.get("messages")
        if not messages or not all(_fine(m) for m in messages):
            return 400, _error("Invalid value for 'messages'", None, "messages"), {}
        return None


def completion(text: str, model: str, finish: str = "stop") -> dict[str, Any]:
    """A chat completion as OpenAI's API reference shows it."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text},
                "finish_reason": finish,
            }
        ],
        "usage": {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18},
    }


def _error(message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    kind = "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def _fine(message: dict[str, Any]) -> bool:
    if message.get("role") not in ("system", "user", "assistant"):
        return False
    content = message.get("content")
    if isinstance(content, str):
        return True
    if not isinstance(content, list) or not content:
        return False
    return all(
        isinstance(p.get("text"), str)
        if p.get("type") == "text"
        else p.get("type") == "image_url" and _picture(p) is not None
        for p in content
    )


def _picture(part: dict[str, Any]) -> Image.Image | None:
    head, _, code = part["image_url"]["url"].partition(",")
    if not head.startswith("data:image/") or not head.endswith(";base64"):
        return None
    try:
        picture = Image.open(io.BytesIO(base64.b64decode(code, validate=True)))
        picture.load()
    except (binascii.Error, OSError):
        return None
    return picture
