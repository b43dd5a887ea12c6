"""TLS contexts and their failures, against real TLS servers with certificates made for the occasion."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

import pytest

from connectors import tls
from connectors.fields import Tls
from connectors.tls import TlsError, TlsFiles
from tests.authority import NOW, Authority


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@contextmanager
def server(certificate: tuple[Path, Path], *, clients: Path | None = None, plain: bool = False) -> Iterator[int]:
    """Its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                one, _ = listener.accept()
                with suppress(OSError), one:
                    if plain:
                        one.sendall(b"220 no TLS here\r\n")
                        continue
                    with context.wrap_socket(one, server_side=True) as wrapped:
                        wrapped.sendall(b"hello")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def talk(files: TlsFiles, port: int) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 5) as plain, files.context().wrap_socket(plain) as wrapped:
        return wrapped.recv(5)


def failure(files: TlsFiles, port: int) -> str:
    with pytest.raises(OSError) as caught:
        talk(files, port)
    return files.explained(caught.value, port)


def test_tls_when_all_is_right_connects_also_under_another_name(authority: Authority) -> None:
    with server(authority.issue("right")) as port:
        assert talk(TlsFiles(Tls(ca_file=authority.file), "127.0.0.1"), port) == b"hello"
    with server(authority.issue("named", host="scada.local")) as port:
        given = Tls(ca_file=authority.file, server_name="scada.local", min_version="1.3")
        assert talk(TlsFiles(given, "127.0.0.1"), port) == b"hello"


def test_tls_when_the_servers_certificate_is_wrong_says_what_is_in_it_and_what_to_do(authority: Authority) -> None:
    ours = TlsFiles(Tls(ca_file=authority.file), "127.0.0.1")
    with server(authority.issue("old", start=-3, end=-2)) as port:
        said = failure(ours, port)
        assert "has expired (CN=old, for 127.0.0.1; from CN=Plant CA; valid " in said
        assert (NOW - timedelta(days=2)).strftime("to %Y-%m-%d") in said
    with server(authority.issue("early", start=1, end=2)) as port:
        assert "not valid yet (CN=early" in failure(ours, port)
    with server(authority.issue("other", host="scada.local")) as port:
        said = failure(ours, port)
        assert "is for another name (CN=other, for scada.local" in said
        assert "set tls.server_name" in said
    stranger = Authority(authority.folder, "Stranger")
    with server(stranger.issue("foreign")) as port:
        said = failure(ours, port)
        assert "an authority that we do not know (CN=foreign" in said
        assert f"known: ca_file {authority.file} (CN=Plant CA" in said
    with server(authority.issue("plain"), plain=True) as port:
        assert "does not speak TLS: is the port right?" in failure(ours, port)


def test_tls_when_the_server_refuses_our_certificate_says_which(authority: Authority) -> None:
    stranger = Authority(authority.folder, "Stranger")
    cert, key = stranger.issue("us")
    known = authority.issue("client")
    with server(authority.issue("strict"), clients=authority.file) as port:
        none = TlsFiles(Tls(ca_file=authority.file), "127.0.0.1")
        assert "wants a client certificate" in failure(none, port)
        wrong = TlsFiles(Tls(ca_file=authority.file, cert_file=cert, key_file=key), "127.0.0.1")
        assert f"refuses our certificate {cert} (CN=us" in failure(wrong, port)
        right = TlsFiles(Tls(ca_file=authority.file, cert_file=known[0], key_file=known[1]), "127.0.0.1")
        assert talk(right, port) == b"hello"


def test_tls_when_our_own_files_cannot_be_used_names_file_and_reason(authority: Authority, tmp_path: Path) -> None:
    one, other = authority.issue("one"), authority.issue("two")
    old, early = authority.issue("old", start=-3, end=-2), authority.issue("early", start=1, end=2)
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    for given, said in (
        ({"cert_file": one[0], "key_file": other[1]}, r"two\.key is not the key of cert_file .*one\.crt \(CN=one"),
        ({"cert_file": old[0], "key_file": old[1]}, r"old\.crt \(CN=old.*\) has expired"),
        ({"cert_file": early[0], "key_file": early[1]}, r"early\.crt \(CN=early.*\) is not valid yet"),
        ({"cert_file": text, "key_file": one[1]}, r"text\.pem and key_file .* cannot be used.*expected PEM"),
        ({"ca_file": text}, r"text\.pem holds no usable certificate"),
    ):
        with pytest.raises(TlsError, match=said):
            TlsFiles(Tls(**given), "h").context()


def test_tls_when_files_are_renewed_says_so_once_and_not_when_they_do_not_fit(authority, monkeypatch) -> None:
    monkeypatch.setattr(tls, "LOOK_SECONDS", 0.0)
    cert, key = authority.issue("us")
    files = TlsFiles(Tls(cert_file=cert, key_file=key), "h")
    assert not files.renewed(), "never used yet"
    files.context()
    assert not files.renewed()
    first_key = key.read_bytes()
    authority.issue("us")
    second_key = key.read_bytes()
    key.write_bytes(first_key)  # half renewed
    assert not files.renewed()
    key.write_bytes(second_key)
    assert files.renewed()
    assert not files.renewed()
