"""Download of Kafka's archives from a real HTTP(S) server with every way in which it can fail."""

from __future__ import annotations

import datetime
import hashlib
import io
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from streams.local.errors import ServiceError
from streams.local.jars import Jar, class_path, locked
from streams.local.progress import Progress


class Repository(SimpleHTTPRequestHandler):
    """A Maven repository on the loopback interface."""

    def log_message(self, *args: object) -> None:
        """Quiet."""


@contextmanager
def serve(folder: Path, context: ssl.SSLContext | None = None) -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Repository, directory=str(folder)))
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http{'s' if context else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of this machine must not come between the test and its own server."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def jars(tmp_path: Path) -> list[Jar]:
    """Five archives in a repository."""
    made = []
    for number in range(5):
        content = bytes([number]) * 100_000
        jar = Jar(f"org.example:part-{number}:1.{number}", len(content), hashlib.sha256(content).hexdigest())
        path = tmp_path / "repository" / jar.path
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        made.append(jar)
    return made


def plain() -> tuple[Progress, io.StringIO]:
    out = io.StringIO()
    return Progress(Console(file=out, width=200)), out


def test_class_path_when_nothing_is_here_downloads_all_in_order_and_says_so(tmp_path: Path, jars: list[Jar]) -> None:
    progress, out = plain()
    with serve(tmp_path / "repository") as url:
        found = class_path(progress, cache=tmp_path / "cache", repository=url, jars=jars)
    assert [path.name for path in found] == [jar.filename for jar in jars]
    assert all(hashlib.sha256(p.read_bytes()).hexdigest() == j.sha256 for p, j in zip(found, jars, strict=True))
    lines = out.getvalue().splitlines()
    assert lines[0].endswith(": 5 files, 0 MB, once")
    assert lines[-1].endswith(": 5 of 5 files, 0 of 0 MB")


def test_class_path_when_a_terminal_watches_draws_a_bar(tmp_path: Path, jars: list[Jar]) -> None:
    out = io.StringIO()
    progress = Progress(Console(file=out, width=200, force_terminal=True))
    with serve(tmp_path / "repository") as url:
        class_path(progress, cache=tmp_path / "cache", repository=url, jars=jars)
    assert "5 of 5 files" in out.getvalue()


def test_class_path_when_all_is_here_needs_no_network_and_says_nothing(tmp_path: Path, jars: list[Jar]) -> None:
    with serve(tmp_path / "repository") as url:
        first = class_path(plain()[0], cache=tmp_path / "cache", repository=url, jars=jars)
    progress, out = plain()
    assert class_path(progress, cache=tmp_path / "cache", repository=url, jars=jars) == first
    assert out.getvalue() == ""


def test_class_path_when_one_file_is_cut_short_downloads_that_one_again(tmp_path: Path, jars: list[Jar]) -> None:
    with serve(tmp_path / "repository") as url:
        found = class_path(plain()[0], cache=tmp_path / "cache", repository=url, jars=jars)
        found[2].write_bytes(b"cut")
        progress, out = plain()
        class_path(progress, cache=tmp_path / "cache", repository=url, jars=jars)
    assert found[2].stat().st_size == jars[2].size
    assert "1 of 1 files" in out.getvalue()


def test_class_path_when_a_file_was_changed_on_the_way_refuses_it(tmp_path: Path, jars: list[Jar]) -> None:
    (tmp_path / "repository" / jars[3].path).write_bytes(b"z" * jars[3].size)
    with (
        serve(tmp_path / "repository") as url,
        pytest.raises(ServiceError, match=r"part-3-1\.3\.jar is not the file that was locked"),
    ):
        class_path(plain()[0], cache=tmp_path / "cache", repository=url, jars=jars)
    kept = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert kept <= {jar.filename for jar in jars} - {jars[3].filename}


def test_class_path_when_the_repository_lacks_a_file_says_which(tmp_path: Path, jars: list[Jar]) -> None:
    (tmp_path / "repository" / jars[0].path).unlink()
    with (
        serve(tmp_path / "repository") as url,
        pytest.raises(ServiceError, match=r"part-0-1\.0\.jar.*404.*The repository refused"),
    ):
        class_path(plain()[0], cache=tmp_path / "cache", repository=url, jars=jars)


def test_class_path_when_offline_says_what_to_do(tmp_path: Path, jars: list[Jar]) -> None:
    with pytest.raises(ServiceError, match=r"Check that this machine is online.*own Kafka"):
        class_path(plain()[0], cache=tmp_path / "cache", repository="http://127.0.0.1:9", jars=jars)


def test_class_path_when_the_proxy_is_away_names_its_variable(
    tmp_path: Path, jars: list[Jar], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with (
        serve(tmp_path / "repository") as url,
        pytest.raises(ServiceError, match="The proxy in HTTPS_PROXY does not let this through"),
    ):
        class_path(plain()[0], cache=tmp_path / "cache", repository=url, jars=jars)


def test_class_path_when_the_certificate_is_not_trusted_names_the_variable(tmp_path: Path, jars: list[Jar]) -> None:
    with (
        serve(tmp_path / "repository", self_signed(tmp_path)) as url,
        pytest.raises(ServiceError, match=r"certificate is not trusted.*REQUESTS_CA_BUNDLE"),
    ):
        class_path(plain()[0], cache=tmp_path / "cache", repository=url, jars=jars)


def test_class_path_when_the_cache_cannot_be_written_says_where(tmp_path: Path, jars: list[Jar]) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(ServiceError, match=r"cannot be kept in .*XDG_CACHE_HOME"):
        class_path(plain()[0], cache=tmp_path / "cache", repository="http://127.0.0.1:9", jars=jars)


def test_class_path_when_the_disk_is_too_small_says_how_much_is_needed(tmp_path: Path) -> None:
    huge = Jar("org.example:huge:1", 2**60, "0" * 64)
    with pytest.raises(ServiceError, match=r"needs \d+ MiB in .*only \d+ MiB are free"):
        class_path(plain()[0], cache=tmp_path / "cache", repository="http://127.0.0.1:9", jars=[huge])


def test_lock_when_read_names_every_archive_once_with_size_and_hash() -> None:
    jars = locked()
    names = [jar.coordinates.rsplit(":", 1)[0] for jar in jars]
    assert len(set(names)) == len(names) > 40
    assert all(jar.size > 0 and len(bytes.fromhex(jar.sha256)) == 32 for jar in jars)
    own = {jar.coordinates.split(":")[2] for jar in jars if jar.coordinates.startswith("org.apache.kafka:")}
    assert own == {"4.3.1"}


part = st.from_regex(r"\A[a-z][a-z0-9_-]{0,20}\Z")


@given(st.lists(part, min_size=1, max_size=4), part, part)
def test_jar_path_when_made_of_any_coordinates_is_that_of_a_maven_repository(
    group: list[str], artifact: str, version: str
) -> None:
    path = Jar(f"{'.'.join(group)}:{artifact}:{version}", 1, "").path
    assert path.split("/") == [*group, artifact, version, f"{artifact}-{version}.jar"]


def self_signed(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gridtape test")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    return context
