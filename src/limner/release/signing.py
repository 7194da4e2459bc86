"""C2PA: a signed statement inside each preview that a model drew it, with the user's own key.

In: a PNG, the user's certificate chain and key. Out: the PNG with a manifest. A self-made
certificate gives "signed, not trusted" in any reader, and so does this say.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
from dataclasses import dataclass
from pathlib import Path

from limner.errors import InputError, MissingExtraError, WorkFailedError, first_line
from limner.release.pictures import DIGITAL_SOURCE

ALGORITHM = "es256"


@dataclass(frozen=True)
class Signature:
    """Paths of a PEM certificate chain and its PKCS 8 key (ES256)."""

    certificate: Path
    key: Path


def require() -> None:
    """Raise MissingExtraError unless c2pa-python is there."""
    if importlib.util.find_spec("c2pa") is None:
        raise MissingExtraError(
            "Signing previews needs c2pa-python, which is not installed",
            fix="pip install 'limner[provenance]', or release without --sign-cert.",
        )


def sign(png: bytes, title: str, signature: Signature) -> bytes:
    """The PNG with a C2PA manifest: action c2pa.created, drawn by a trained model.

    Raises MissingExtraError, InputError for files that cannot be read, WorkFailedError for a
    certificate or key that cannot sign.
    """
    require()
    c2pa = importlib.import_module("c2pa")  # no types are published

    try:
        chain, key = signature.certificate.read_bytes(), signature.key.read_bytes()
    except OSError as error:
        raise InputError(
            f"The signing certificate or key cannot be read: {error.strerror}",
            where=str(error.filename),
            fix="Give a PEM chain with --sign-cert and its PKCS 8 key with --sign-key.",
        ) from None
    out = io.BytesIO()
    try:
        info = c2pa.C2paSignerInfo(
            alg=ALGORITHM.encode(), sign_cert=chain, private_key=key, ta_url=None
        )
        with c2pa.Signer.from_info(info) as signer, c2pa.Builder(_manifest(title)) as builder:
            builder.sign(signer, "image/png", io.BytesIO(png), out)
    except Exception as error:  # the library raises its own types by cause: key, chain, format
        raise WorkFailedError(
            f"The preview could not be signed: {first_line(error)}",
            where=signature.certificate.name,
            fix="The certificate needs key usage digitalSignature, extended usage emailProtection, "
            "and an issuer; the key must be ES256 in PKCS 8.",
        ) from None
    return out.getvalue()


def _manifest(title: str) -> str:
    from limner import __version__

    action = {"action": "c2pa.created", "digitalSourceType": DIGITAL_SOURCE}
    return json.dumps(
        {
            "claim_generator_info": [{"name": "Limner", "version": __version__}],
            "title": title,
            "format": "image/png",
            "assertions": [{"label": "c2pa.actions", "data": {"actions": [action]}}],
        }
    )
