"""What may be shown and what stays here: secrets out of texts, and which addresses are near.

In: a text, an address or a host name. Out: the text without secrets, or yes or no.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

_KEY_LIKE = re.compile(r"\b(?:sk|hf|gsk|xai|r8|AIza)[-_][A-Za-z0-9_*.-]{6,}|Bearer\s+\S+")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` without the secrets, and without anything that looks like a key."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "<key>")
    return _KEY_LIKE.sub("<key>", text)


def without_secrets(address: str) -> str:
    """An address cut before anything that may be secret: its user and its query (signed links)."""
    return re.sub(r"//[^/@]*@", "//<hidden>@", address).split("?")[0][:200]


def is_loopback(host: str) -> bool:
    """Whether a host name means this machine (not what merely begins like 127.)."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_private(host: str) -> bool:
    """This machine or the local network: plain http is common there."""
    try:
        return is_loopback(host) or ipaddress.ip_address(host).is_private
    except ValueError:
        return host.endswith((".local", ".lan", ".internal")) or "." not in host


def is_local(url: str) -> bool:
    """Whether an address is on this machine."""
    return is_loopback(urlsplit(url).hostname or "")
