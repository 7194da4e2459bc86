"""The keys of a Higgsfield account: from the environment or the system's keyring, never a file.

In: the environment. Out: `Keys`. `HF_...` names are Higgsfield's here, although Hugging Face uses
the same letters; a Hugging Face token in them is recognised and refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module

from limner.errors import UsageError

PAIRS = (
    ("HIGGSFIELD_API_KEY", "HIGGSFIELD_SECRET"),
    ("HIGGSFIELD_API_KEY", "HIGGSFIELD_API_SECRET"),
    ("HF_API_KEY", "HF_API_SECRET"),
    ("HF_API_KEY_ID", "HF_API_KEY_SECRET"),
)
"""Variables of key id and secret, ours first, then those of Higgsfield's own packages."""

WHOLE = ("HIGGSFIELD_KEY", "HF_KEY", "HF_CREDENTIALS")
"""Variables that hold `id:secret`."""

KEYRING = ("limner", "higgsfield")
"""Service and user name in the system's keyring; the password is `id:secret`."""

_GOOD = re.compile(r"[\x21-\x39\x3b-\x7e]+")  # visible ASCII without the colon between the two


@dataclass(frozen=True)
class Keys:
    """Key id and secret; neither stands in the repr. origin: where they came from."""

    id: str = field(repr=False)
    secret: str = field(repr=False)
    origin: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every text that must not be shown, longest first."""
        return (f"{self.id}:{self.secret}", *sorted((self.id, self.secret), key=len, reverse=True))

    def model_headers(self) -> dict[str, str]:
        """For model routes; the word is `Key`."""
        return {"Authorization": f"Key {self.id}:{self.secret}"}

    def pair_headers(self) -> dict[str, str]:
        """For the older /v1 routes."""
        return {"hf-api-key": self.id, "hf-secret": self.secret}


def find_keys(environ: Mapping[str, str] | None = None) -> Keys:
    """The first complete key. Raises UsageError: none, half of one, or one of Hugging Face."""
    env = os.environ if environ is None else environ
    for id_name, secret_name in PAIRS:
        if env.get(id_name) and env.get(secret_name):
            return _checked(env[id_name], env[secret_name], f"{id_name} and {secret_name}")
    for name in (*WHOLE, "HIGGSFIELD_API_KEY"):
        if env.get(name) and (":" in env[name] or name != "HIGGSFIELD_API_KEY"):
            return _whole(env[name], name)
    if kept := _from_keyring():
        return _whole(kept, "the keyring")
    half = next((n for pair in PAIRS for n in pair if env.get(n)), None)
    raise UsageError(
        f"Only half of a Higgsfield key is set ({half})" if half else "No Higgsfield key is set",
        where="environment",
        fix="Set HIGGSFIELD_API_KEY and HIGGSFIELD_SECRET to the two parts shown in Higgsfield's "
        "developer console (HF_TOKEN is Hugging Face's, not this).",
    )


def _whole(text: str, origin: str) -> Keys:
    number, colon, secret = text.strip().partition(":")
    if not colon:
        if number.startswith("hf_"):
            raise _hugging_face(origin)
        raise UsageError(f"{origin} holds no key: it should look like ID:SECRET")
    return _checked(number, secret, origin)


def _checked(number: str, secret: str, origin: str) -> Keys:
    number, secret = number.strip(), secret.strip()
    if number.startswith("hf_") or secret.startswith("hf_"):
        raise _hugging_face(origin)
    if not _GOOD.fullmatch(number) or not _GOOD.fullmatch(secret):
        raise UsageError(
            f"The key in {origin} holds characters that no key has",
            fix="Copy it again, without quotes or line breaks.",
        )
    return Keys(number, secret, origin)


def _hugging_face(origin: str) -> UsageError:
    return UsageError(
        f"{origin} holds a token of Hugging Face; Higgsfield's keys have a name and a secret",
        fix="Set HIGGSFIELD_API_KEY and HIGGSFIELD_SECRET; leave Hugging Face's in HF_TOKEN.",
    )


def _from_keyring() -> str | None:
    """`id:secret` from the system's keyring, where there is one and the `keyring` package."""
    try:
        keyring = import_module("keyring")
    except ImportError:
        return None
    try:
        return str(keyring.get_password(*KEYRING) or "") or None
    except Exception:  # a locked or missing keyring raises many kinds; it is the same as no key
        return None
