"""Where to ask: URL, model and key of a chat endpoint.

In: arguments, environment, the system's keyring. Out: an `Endpoint`. A key is never read from a
file, never sent in the clear over a public network, and never to an address that only a project's
file named: a project may come from somebody else.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from limner.errors import InputError, UsageError
from limner.net import is_local, is_private, without_secrets
from limner.project.rules import Rule

OPENAI = "https://api.openai.com/v1"
URL_NAMES = ("LIMNER_LLM_URL", "OPENAI_BASE_URL")
MODEL_NAME = "LIMNER_LLM_MODEL"
KEYS = {"LIMNER_LLM_KEY": "LIMNER_LLM_URL", "OPENAI_API_KEY": "OPENAI_BASE_URL"}
"""Variable of a key -> variable of the address it belongs to."""
KEYRING = ("limner", "llm")
"""Service and user name of the key in the system's keyring."""

LIMITS: dict[str, Rule] = {
    "connect_s": Rule(10, "starting value", "ours", "seconds to reach the endpoint"),
    "answer_s": Rule(180, "starting value", "a 17 GB captioner on a slow card", "seconds a reply"),
    "attempts": Rule(4, "starting value", "ours", "times a request is tried"),
    "first_wait_s": Rule(0.5, "starting value", "ours", "seconds before the second try"),
    "longest_wait_s": Rule(30, "starting value", "ours", "seconds between two tries at most"),
    "reply_bytes": Rule(4_000_000, "starting value", "ours", "largest reply that is read"),
    "picture_side": Rule(1024, "starting value", "VLMs see 384 to 1,024 px", "longest side sent"),
}
"""Every number the client works by."""

_SECRET_PARAMETER = re.compile(r"key|token|secret|password|sig", re.IGNORECASE)


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint. `key` is in no repr; `key_from` says where it came from."""

    url: str
    model: str = ""
    key: str | None = field(default=None, repr=False)
    key_from: str | None = None

    @property
    def local(self) -> bool:
        """Whether it is on this machine."""
        return is_local(self.url)

    def address(self, path: str) -> str:
        """The URL of one call, e.g. `chat/completions`; a query of the base URL stays."""
        parts = urlsplit(self.url)
        whole = f"{parts.path.rstrip('/')}/{path}"
        return urlunsplit((parts.scheme, parts.netloc, whole, parts.query, ""))

    def as_dict(self) -> dict[str, str]:
        """What may be written down with a result: no key."""
        return {"url": self.url, "model": self.model}


def find_endpoint(
    url: str | None = None,
    model: str | None = None,
    *,
    from_file: bool = False,
    environ: Mapping[str, str] | None = None,
) -> Endpoint:
    """The endpoint to use: arguments first, then LIMNER_LLM_URL or OPENAI_BASE_URL.

    A key alone (OPENAI_API_KEY) means OpenAI. from_file: `url` comes from a project's file, so it
    gets a key only where the environment names the same host. model may stay empty: the client then
    takes the only model that the endpoint serves. Raises UsageError when no address is known,
    InputError for an address that cannot be used.
    """
    env = os.environ if environ is None else environ
    named = url or next((env[n] for n in URL_NAMES if env.get(n)), None)
    if named is None and env.get("OPENAI_API_KEY"):
        named = OPENAI
    if not named:
        raise UsageError(
            "No language model endpoint is set",
            fix="Set LIMNER_LLM_URL (e.g. http://127.0.0.1:11434/v1) and LIMNER_LLM_MODEL, "
            "or OPENAI_API_KEY.",
        )
    clean = clean_url(named)
    key, key_from = _find_key(clean, env, asked=bool(url) and not from_file)
    if key and urlsplit(clean).scheme == "http" and not is_private(urlsplit(clean).hostname or ""):
        raise InputError(
            f"The key ({key_from}) would be sent unencrypted",
            where=clean,
            fix=f"Use https, or unset {key_from} if the endpoint needs no key.",
        )
    return Endpoint(clean, (model or env.get(MODEL_NAME) or "").strip(), key, key_from)


def clean_url(text: str) -> str:
    """The base URL: `/v1` added to a bare host, a full `/chat/completions` cut off.

    Raises InputError for what is no http(s) address, and for secrets inside the address.
    """
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in ("http", "https") or not host or re.search(r"\s", text):
        raise InputError(
            "This is no address of an endpoint",
            where=without_secrets(text),
            fix="Write it like http://127.0.0.1:11434/v1 or https://api.openai.com/v1.",
        )
    secret = [k for k, _ in parse_qsl(parts.query) if _SECRET_PARAMETER.search(k)]
    if parts.username or parts.password or secret:
        raise InputError(
            "The address of the endpoint holds a secret",
            where=without_secrets(text),
            fix="Take it out of the address; put the key into LIMNER_LLM_KEY.",
        )
    path = re.sub(r"/chat/completions/?$", "", parts.path).rstrip("/")
    return urlunsplit((parts.scheme, parts.netloc, path or "/v1", parts.query, ""))


def _find_key(url: str, env: Mapping[str, str], *, asked: bool) -> tuple[str | None, str | None]:
    """The key for this address. asked: the person at the keyboard named the address."""
    host = urlsplit(url).netloc
    for name, address in KEYS.items():
        key = (env.get(name) or "").strip()
        if not key:
            continue
        home = env.get(address) or (OPENAI if name == "OPENAI_API_KEY" else "")
        same = bool(home) and urlsplit(clean_url(home)).netloc == host
        if same or (asked and name == "LIMNER_LLM_KEY"):
            return key, name
    if asked or any(env.get(n) and urlsplit(clean_url(env[n])).netloc == host for n in URL_NAMES):
        kept = _from_keyring()
        return (kept, "keyring") if kept else (None, None)
    return None, None


def _from_keyring() -> str | None:
    """The key in the system's keyring, where the `keyring` package and a keyring are there."""
    try:
        keyring = import_module("keyring")
    except ImportError:
        return None
    try:
        return str(keyring.get_password(*KEYRING) or "") or None
    except Exception:  # a locked or missing keyring raises many kinds; it is the same as no key
        return None
