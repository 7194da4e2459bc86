"""Signed previews: any C2PA reader finds the manifest valid, and the certificate untrusted."""

from __future__ import annotations

import datetime as dt
import io
import json
from pathlib import Path

import pytest
import release_project as make

from limner.errors import InputError, WorkFailedError
from limner.events import collect
from limner.release import Signature, pictures, release, verify

c2pa = pytest.importorskip("c2pa", reason="signing needs limner[provenance]")
x509 = pytest.importorskip("cryptography.x509", reason="making a test certificate needs it")


@pytest.fixture(scope="module")
def signature(tmp_path_factory: pytest.TempPathFactory) -> Signature:
    """A certificate of our own making: an issuer, and a leaf that may sign."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def made(cn: str, issuer: str, key: ec.EllipticCurvePrivateKey, by: object, ca: bool) -> object:
        def name(text: str) -> object:
            return x509.Name(
                [
                    x509.NameAttribute(NameOID.COMMON_NAME, text),
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Test"),
                ]
            )

        start = dt.datetime(2026, 1, 1)
        may = {"digital_signature": not ca, "key_cert_sign": ca, "crl_sign": ca}
        rest = ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
        usage = x509.KeyUsage(
            **may, **dict.fromkeys(rest, False), encipher_only=False, decipher_only=False
        )
        builder = (
            x509.CertificateBuilder()
            .subject_name(name(cn))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + dt.timedelta(days=3000))
            .add_extension(x509.BasicConstraints(ca, 0 if ca else None), True)
            .add_extension(usage, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(by.public_key()), False
            )
        )
        if not ca:
            mail = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(mail, True)
        return builder.sign(by, hashes.SHA256())

    ca_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    chain = [
        made("me", "issuer", key, ca_key, False),
        made("issuer", "issuer", ca_key, ca_key, True),
    ]
    folder = tmp_path_factory.mktemp("keys")
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(b"".join(c.public_bytes(pem) for c in chain))
    (folder / "key.pem").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return Signature(folder / "chain.pem", folder / "key.pem")


def test_every_preview_is_signed_and_says_that_a_model_drew_it(
    signature: Signature, tmp_path: Path
) -> None:
    project = make.build(tmp_path / "iris")
    folder = project.root / collect(release(project, signature=signature))["path"]
    assert verify(folder) == []
    previews = sorted((folder / "samples").glob("*.png"))
    assert previews
    for path in previews[:2]:
        told = json.loads(c2pa.Reader("image/png", io.BytesIO(path.read_bytes())).json())
        assert told["validation_state"] == "Valid"
        codes = [s["code"] for s in told["validation_results"]["activeManifest"]["failure"]]
        assert codes == ["signingCredential.untrusted"]
        manifest = told["manifests"][told["active_manifest"]]
        action = manifest["assertions"][0]["data"]["actions"][0]
        assert action["digitalSourceType"] == pictures.DIGITAL_SOURCE
        assert pictures.DIGITAL_SOURCE.encode() in path.read_bytes()  # IPTC stays too


def test_a_key_that_cannot_sign_is_an_error_and_leaves_nothing(
    signature: Signature, tmp_path: Path
) -> None:
    project = make.build(tmp_path / "iris")
    with pytest.raises(WorkFailedError, match="could not be signed"):
        collect(release(project, signature=Signature(signature.key, signature.key)))
    with pytest.raises(InputError, match="cannot be read"):
        collect(release(project, signature=Signature(tmp_path / "no.pem", signature.key)))
    assert not list((project.root / "release").glob("v*"))
