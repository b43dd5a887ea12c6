"""Certificate files that cannot be used are named, with what is wrong."""

from __future__ import annotations

import asyncio
import ipaddress
from pathlib import Path

import pytest
from asyncua import ua
from asyncua.common.utils import ServiceError
from asyncua.crypto.cert_gen import (
    dump_private_key_as_pem,
    generate_private_key,
    generate_self_signed_app_certificate,
)
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from connectors.opcua.certificates import Certificates
from connectors.opcua.config import OpcUaServer

KEY = generate_private_key()
OTHER_KEY = generate_private_key()


def signed(name: str, usage=ExtendedKeyUsageOID.CLIENT_AUTH, days: int = 365) -> x509.Certificate:
    names = [x509.UniformResourceIdentifier(f"urn:{name}"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    return generate_self_signed_app_certificate(KEY, name, {}, names, [usage], days)


@pytest.fixture
def files(tmp_path: Path) -> Certificates:
    (tmp_path / "own.pem").write_bytes(signed("own").public_bytes(Encoding.PEM))
    (tmp_path / "own.key.pem").write_bytes(dump_private_key_as_pem(KEY))
    (tmp_path / "trusted").mkdir()
    (tmp_path / "rejected").mkdir()
    server = OpcUaServer.model_validate(
        {
            "name": "d",
            "url": "opc.tcp://127.0.0.1:4840",
            "nodes": [{"point": "p", "namespace": "urn:x", "identifier": "s=A", "unit": "1"}],
            "security": {
                "certificate": "own.pem",
                "private_key": "own.key.pem",
                "trust_folder": "trusted",
                "reject_folder": "rejected",
            },
        },
        context={"folder": tmp_path},
    )
    assert server.security is not None
    return Certificates(server, server.security)


def test_own_when_files_are_pem_or_der_whatever_their_name_are_read(files, tmp_path):
    assert asyncio.run(files.own()).certificate.subject == signed("own").subject
    (tmp_path / "own.pem").write_bytes(signed("own").public_bytes(Encoding.DER))
    (tmp_path / "own.key.pem").write_bytes(KEY.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))
    assert asyncio.run(files.own()).key.extension == "der"


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("own.pem", b"x", "own.pem is no certificate"),
        ("own.key.pem", b"x", "own.key.pem is no private key"),
        ("own.key.pem", dump_private_key_as_pem(OTHER_KEY), "is not the key of"),
        ("own.pem", signed("own", days=0).public_bytes(Encoding.PEM), "has expired or is not valid yet"),
    ],
)
def test_own_when_a_file_cannot_be_used_names_it(files, tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=said):
        asyncio.run(files.own())


def test_validator_when_a_trusted_file_is_broken_names_it(files, tmp_path):
    (tmp_path / "trusted" / "plc.der").write_bytes(b"half")
    with pytest.raises(ValueError, match=r"plc\.der is no certificate"):
        asyncio.run(files.validator())


def test_validator_when_the_servers_certificate_has_expired_says_what_to_do(files, tmp_path):
    old = signed("plc", ExtendedKeyUsageOID.SERVER_AUTH, days=0)
    (tmp_path / "trusted" / "plc.der").write_bytes(old.public_bytes(Encoding.DER))
    application = ua.ApplicationDescription(ApplicationUri="urn:plc", ApplicationType=ua.ApplicationType.Server)

    async def meet() -> None:
        validate = await files.validator()
        await validate(old, application)

    with pytest.raises(ServiceError):
        asyncio.run(meet())
    assert "BadCertificateTimeInvalid" in files.refusal
    assert "CN=plc" in files.refusal
    assert "it has expired or is not valid yet" in files.refusal


def refused(files: Certificates, stranger: x509.Certificate) -> str:
    application = ua.ApplicationDescription(ApplicationUri="urn:stranger", ApplicationType=ua.ApplicationType.Server)

    async def meet() -> None:
        validate = await files.validator()
        await validate(stranger, application)

    with pytest.raises(ServiceError):
        asyncio.run(meet())
    return files.refusal


def test_refused_when_strangers_are_many_keeps_a_bounded_number_of_their_certificates(files, tmp_path):
    for number in range(100):
        (tmp_path / "rejected" / f"{number}.der").write_bytes(b"")
    stranger = signed("stranger", ExtendedKeyUsageOID.SERVER_AUTH)
    assert "holds 100 certificates already" in refused(files, stranger)
    assert len(list((tmp_path / "rejected").iterdir())) == 100


def test_refused_when_a_certificate_is_larger_than_any_can_be_keeps_none_of_it(files, tmp_path):
    names = [x509.UniformResourceIdentifier("urn:stranger"), x509.DNSName("a" * 100_000)]
    usage = [ExtendedKeyUsageOID.SERVER_AUTH]
    said = refused(files, generate_self_signed_app_certificate(KEY, "stranger", {}, names, usage, 365))
    assert "bytes, of which none is put into" in said
    assert len(said) < 2500
    assert not list((tmp_path / "rejected").iterdir())
