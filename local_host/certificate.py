"""A self-signed certificate for a gateway on this machine: `python -m local_host.certificate DIR`.

`DIR/cert.pem` and `DIR/key.pem` are kept until the certificate is about to expire, so that a client
has to trust it only once. The certificate is valid for this machine's own names only, and cannot
sign another one.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CERTIFICATE, KEY = "cert.pem", "key.pem"
_LIFE = timedelta(days=365)
_RENEW_BEFORE_END = timedelta(days=30)
_ADDRESSES = ("127.0.0.1", "::1")


def main() -> int:
    """Make the certificate in the folder of the command line, if it is missing."""
    make_certificate(Path(sys.argv[1]))
    return 0


def make_certificate(folder: Path) -> Path:
    """The certificate in `folder`, with its key beside it; made if there is no valid one."""
    certificate = folder / CERTIFICATE
    if _is_valid(certificate) and (folder / KEY).exists():
        return certificate
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    _write(
        folder / KEY,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    _write(certificate, _build_certificate(key).public_bytes(serialization.Encoding.PEM))
    return certificate


def _is_valid(certificate: Path) -> bool:
    try:
        loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    except (OSError, ValueError):
        return False
    return loaded.not_valid_after_utc - _RENEW_BEFORE_END > datetime.now(UTC)


def _build_certificate(key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    now = datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Payroll Import Gateway, local")])
    names = [x509.DNSName("localhost")]
    addresses = [x509.IPAddress(ipaddress.ip_address(address)) for address in _ADDRESSES]
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + _LIFE)
        .add_extension(x509.SubjectAlternativeName([*names, *addresses]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False
        )
        .sign(key, hashes.SHA256())
    )


def _write(file: Path, content: bytes) -> None:
    """Write a file that only its owner may read. Readers see the whole file or none."""
    draft = file.with_suffix(".new")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as opened:
        opened.write(content)
    draft.replace(file)


if __name__ == "__main__":
    sys.exit(main())
