"""A client for one server, secured as its settings say.

The library checks a server's certificate only when it is given something that does; without it any certificate would
be taken, and the password handed to whoever answers.
"""

from __future__ import annotations

import logging

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto.security_policies import (
    SecurityPolicy,
    SecurityPolicyAes128Sha256RsaOaep,
    SecurityPolicyAes256Sha256RsaPss,
    SecurityPolicyBasic256Sha256,
)
from asyncua.crypto.uacrypto import load_private_key
from cryptography import x509

from connectors.opcua import bounds, transport
from connectors.opcua.certificates import Certificates, alternative_names
from connectors.opcua.config import Mode, OpcUaServer, Policy, Security

_POLICIES: dict[Policy, type[SecurityPolicy]] = {
    Policy.BASIC256SHA256: SecurityPolicyBasic256Sha256,
    Policy.AES128: SecurityPolicyAes128Sha256RsaOaep,
    Policy.AES256: SecurityPolicyAes256Sha256RsaPss,
}
_MODES = {Mode.SIGN: ua.MessageSecurityMode.Sign, Mode.SIGN_AND_ENCRYPT: ua.MessageSecurityMode.SignAndEncrypt}
bounds.install()
transport.install()


async def client_for(server: OpcUaServer, certificates: Certificates | None) -> Client:
    """A client that is not connected yet. With security this asks the server for its endpoints first.

    Raises OSError, TimeoutError or ua.UaError when that fails, ValueError when a certificate of ours cannot be used.
    """
    # Every failure is told by who asked, with the server's name and what to do.
    logging.getLogger("asyncua").setLevel(logging.CRITICAL + 1)
    client = Client(server.url, timeout=server.timeout / 1e6, watchdog_intervall=server.keep_alive / 1e6)
    client.name = client.description = "gridtape"
    if server.login is not None and server.login.username:
        client.set_user(server.login.username)
        client.set_password(server.login.password() or "")
    if server.security is not None and certificates is not None:
        if (user := await certificates.user()) is not None:
            client.user_certificate = user.certificate
            client.user_private_key = await load_private_key(user.key.path_or_content, extension=user.key.extension)
        own = await certificates.own()
        client.application_uri = _application_uri(own.certificate, server.security)
        client.certificate_validator = await certificates.validator()
        await client.set_security(
            _POLICIES[server.security.policy], own.content, own.key, mode=_MODES[server.security.mode]
        )
    return client


def _application_uri(certificate: x509.Certificate, security: Security) -> str:
    names = alternative_names(certificate)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names else []
    if not uris:
        raise ValueError(
            f"{security.certificate} names no application URI (subjectAltName URI); OPC UA asks for one, make it anew"
        )
    return uris[0]
