"""A client for one server, secured as its settings say.

The library checks a server's certificate only when it is given something that does; without it any certificate would
be taken, and the password handed to whoever answers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable

from asyncua import ua
from asyncua.client.client import Client
from asyncua.common.utils import ServiceError
from asyncua.crypto import uacrypto
from asyncua.crypto.security_policies import (
    SecurityPolicy,
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
)
from asyncua.crypto.truststore import TrustStore
from asyncua.crypto.validator import CertificateValidator, CertificateValidatorOptions
from asyncua.ua.status_codes import StatusCodes
from cryptography import x509

from connectors.opcua.config import Mode, OpcUaServer, Policy, Security

Validator = Callable[[x509.Certificate, ua.ApplicationDescription], Awaitable[None]]

_POLICIES: dict[Policy, type[SecurityPolicy]] = {
    Policy.BASIC256SHA256: SecurityPolicyBasic256Sha256,
    Policy.AES128: SecurityPolicyAes128Sha256RsaOaep,
    Policy.AES256: SecurityPolicyAes256Sha256RsaPss,
}
_MODES = {Mode.SIGN: ua.MessageSecurityMode.Sign, Mode.SIGN_AND_ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt}
_CHECKS = (
    CertificateValidatorOptions.TIME_RANGE
    | CertificateValidatorOptions.URI
    | CertificateValidatorOptions.EXT_KEY_USAGE
    | CertificateValidatorOptions.TRUSTED
    | CertificateValidatorOptions.PEER_SERVER
)


async def client_for(server: OpcUaServer) -> Client:
    """A client that is not connected yet. With security this asks the server for its endpoints first.

    Raises OSError, TimeoutError or ua.UaError when that fails, ValueError when our own certificate cannot be used.
    """
    client = Client(server.url, timeout=server.timeout / 1e6, watchdog_intervall=server.keep_alive / 1e6)
    client.name = client.description = "gridtape"
    if server.login is not None and server.login.username:
        client.set_user(server.login.username)
        client.set_password(server.login.password() or "")
    if server.security is not None:
        own = await uacrypto.load_certificate(server.security.certificate)
        client.application_uri = _application_uri(own, server.security)
        client.certificate_validator = await _validator(server.security, server.host)
        await client.set_security(
            _POLICIES[server.security.policy],
            server.security.certificate,
            server.security.private_key,
            mode=_MODES[server.security.mode],
        )
    return client


def _application_uri(certificate: x509.Certificate, security: Security) -> str:
    names = _alternative_names(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    if not uris:
        raise ValueError(
            f"{security.certificate} names no application URI (subjectAltName URI); OPC UA asks for one, make it anew"
        )
    return uris[0]


async def _validator(security: Security, host: str) -> Validator:
    store = TrustStore([security.trust_folder], [])
    await store.load()
    library = CertificateValidator(_CHECKS, store)
    wanted = security.server_name or host

    async def validate(certificate: x509.Certificate, application: ua.ApplicationDescription) -> None:
        await library(certificate, application)
        # The library leaves the host name out: another trusted server could stand in for this one.
        if not _is_for(certificate, wanted):
            raise ServiceError(StatusCodes.BadCertificateHostNameInvalid)

    return validate


def _is_for(certificate: x509.Certificate, host: str) -> bool:
    names = _alternative_names(certificate)
    if names is None:
        return False
    try:
        return ipaddress.ip_address(host) in names.get_values_for_type(x509.IPAddress)
    except ValueError:
        return host.lower() in (name.lower() for name in names.get_values_for_type(x509.DNSName))


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return None
