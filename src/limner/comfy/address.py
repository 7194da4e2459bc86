"""Which server, and with which keys: the address a person gave, headers from the environment.

In: an address from the command line or character.yaml. Out: a `Server`. Headers go only where the
person at the keyboard pointed, or to this machine: a project's file cannot send them elsewhere.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from limner.comfy.server import Server
from limner.errors import UsageError
from limner.net import is_local

URL_NAME = "COMFYUI_URL"
HEADERS_NAME = "COMFYUI_HEADERS"
DEFAULT = "http://127.0.0.1:8188"


def connect(
    url: str | None = None, *, configured: str = "", limits: Mapping[str, float] | None = None
) -> Server:
    """A server. url: from the command line, else COMFYUI_URL, else configured (character.yaml).

    Nothing is sent. Raises UsageError for an address that is none, for headers that cannot be read,
    and for headers that would go unencrypted over a network.
    """
    given = url or os.environ.get(URL_NAME, "").strip()
    address = clean(given or configured or DEFAULT)
    headers = read_headers(os.environ.get(HEADERS_NAME, ""))
    if headers and not (given or is_local(address)):
        raise UsageError(
            f"{HEADERS_NAME} is set, and the address stands in character.yaml only",
            where=address,
            fix=f"Say --url {address}, or set {URL_NAME}, if your keys may go there.",
        )
    if headers and address.startswith("http://") and not is_local(address):
        raise UsageError("The keys would be sent unencrypted", where=address, fix="Use https.")
    return Server(address, headers=headers, limits=limits)


def clean(text: str) -> str:
    """An address without a trailing slash. Raises UsageError."""
    try:
        parts = urlsplit(text.strip())
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username or parts.password or parts.query:
        raise UsageError(
            "This is no address of a ComfyUI server",
            where="--url",
            fix=f"Write it like {DEFAULT}, without keys in it.",
        )
    return text.strip().rstrip("/")


def read_headers(text: str) -> dict[str, str]:
    """`Name: value` lines, or a JSON object. Raises UsageError."""
    text = text.strip()
    if not text:
        return {}
    if text.startswith("{"):
        try:
            return {str(k): str(v) for k, v in json.loads(text).items()}
        except ValueError:
            raise _unreadable() from None
    found = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if not colon or not name.strip() or not value.strip():
            raise _unreadable()
        found[name.strip()] = value.strip()
    return found


def _unreadable() -> UsageError:
    return UsageError(
        "The headers cannot be read",
        where=HEADERS_NAME,
        fix="Write lines like `Authorization: Bearer ...`, or a JSON object.",
    )
