"""A certificate authority of the cluster's own, and what it signs."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

#: A test cluster lives for hours; certificates of one that was kept shall not end before it.
LIFETIME = dt.timedelta(days=3650)
#: Clocks of containers and hosts may differ a little.
SKEW = dt.timedelta(hours=1)

ADMINS = "system:masters"
"""The group that may do everything."""


@dataclass(frozen=True)
class Pair:
    """A key and its certificate, as files in PEM."""

    key: Path
    certificate: Path


class Authority:
    """The authority whose files lie in one directory; what exists there is used again."""

    def __init__(self, directory: Path) -> None:
        """Make the authority, or read it."""
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.certificate = directory / "ca.crt"
        self._key_file = directory / "ca.key"
        if not self.certificate.exists():
            self._create()
        self._key = _read_key(self._key_file)
        self._issuer = x509.load_pem_x509_certificate(self.certificate.read_bytes())

    @property
    def pair(self) -> Pair:
        """The authority's own key and certificate."""
        return Pair(self._key_file, self.certificate)

    def issue(self, name: str, common_name: str, *, group: str = "", hosts: Sequence[str] = ()) -> Pair:
        """Sign a certificate for clients and, with hosts, for a server.

        Args:
            name: of the two files.
            common_name: the user that Kubernetes sees.
            group: the group that Kubernetes sees.
            hosts: DNS names and IP addresses that it is valid for.
        """
        pair = Pair(self.directory / f"{name}.key", self.directory / f"{name}.crt")
        if pair.certificate.exists():
            return pair
        key = _new_key(pair.key)
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if group:
            subject.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        builder = (
            _builder(x509.Name(subject), self._issuer.subject, key.public_key(), self._key.public_key())
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
        )
        if hosts:
            names = x509.SubjectAlternativeName([_general_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        _write_certificate(pair.certificate, builder.sign(self._key, hashes.SHA256()))
        return pair

    def kubeconfig(self, server: str, pair: Pair) -> str:
        """Give a kubeconfig that is complete in itself.

        Args:
            server: the API server's URL.
            pair: whoever shall use it.
        """
        user = {
            "client-certificate-data": _base64(pair.certificate),
            "client-key-data": _base64(pair.key),
        }
        return self._kubeconfig(server, user)

    def token_kubeconfig(self, server: str, token: str) -> str:
        """Give a kubeconfig whose user shows a token, which a proxy in between can pass on."""
        return self._kubeconfig(server, {"token": token})

    def _kubeconfig(self, server: str, user: dict[str, str]) -> str:
        cluster = {"server": server, "certificate-authority-data": _base64(self.certificate)}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "peersdb-e2e", "cluster": cluster}],
                "users": [{"name": "user", "user": user}],
                "contexts": [{"name": "peersdb-e2e", "context": {"cluster": "peersdb-e2e", "user": "user"}}],
                "current-context": "peersdb-e2e",
            },
            sort_keys=False,
        )

    def service_account_key(self) -> Pair:
        """Give the key that signs the tokens of service accounts, and its public half."""
        pair = Pair(self.directory / "service-accounts.key", self.directory / "service-accounts.pub")
        if not pair.certificate.exists():
            public = _new_key(pair.key).public_key()
            pair.certificate.write_bytes(
                public.public_bytes(
                    serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
                )
            )
        return pair

    def _create(self) -> None:
        key = _new_key(self._key_file)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "peersdb-e2e")])
        builder = (
            _builder(name, name, key.public_key(), key.public_key())
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
        )
        _write_certificate(self.certificate, builder.sign(key, hashes.SHA256()))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer_key: ec.EllipticCurvePublicKey,
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
        # Python 3.13 and later take no certificate without these two.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _new_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return key


def _read_key(path: Path) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(path.read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError(f"{path} is no key of the harness")
    return key


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
