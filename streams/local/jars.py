"""The Java archives of Apache Kafka: which ones exactly, and how they come here.

``kafka.lock`` names each by Maven coordinates, size and SHA-256, so nothing is resolved at run time and nothing is run
that was not locked. ``python -m streams.local.jars`` writes the lock anew (needs the network; jgo resolves it).
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

from streams.local.errors import ServiceError
from streams.local.progress import Progress

try:
    import requests
    from jgo.constants import MAVEN_CENTRAL_URL
except ImportError as error:
    raise ServiceError(
        f"The local services need the module {error.name}. Install it with: pip install 'gridtape[local]', "
        "or set the addresses of own services (kafka, redis, mqtt) in the settings."
    ) from error

KAFKA = "4.3.1"
BROKER = f"org.apache.kafka:kafka_2.13:{KAFKA}"
"""Locked with all that it needs."""
ALONE = (f"org.apache.kafka:kafka-tools:{KAFKA}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4")
"""Locked without what they name: the command line tools (they name Kafka Connect) and the binding without which the
broker would log nothing. jgo takes every coordinate it is given for a bill of materials, so these would also change
the broker's own versions."""
LOCK = Path(__file__).with_name("kafka.lock")
PARALLEL = 6
TRIES = 3
TIMEOUT = (10.0, 30.0)
"""Seconds to connect and between two reads."""


@dataclass(frozen=True)
class Jar:
    """One archive. ``coordinates``: group:artifact:version; ``size`` in bytes; ``sha256`` in hexadecimal."""

    coordinates: str
    size: int
    sha256: str

    @property
    def filename(self) -> str:
        """``artifact-version.jar``."""
        _, artifact, version = self.coordinates.split(":")
        return f"{artifact}-{version}.jar"

    @property
    def path(self) -> str:
        """Where it lies in a Maven repository."""
        group, artifact, version = self.coordinates.split(":")
        return f"{group.replace('.', '/')}/{artifact}/{version}/{self.filename}"


def cache_dir() -> Path:
    """``$XDG_CACHE_HOME/gridtape``, by default ``~/.cache/gridtape``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gridtape"


def locked(lock: Path = LOCK) -> list[Jar]:
    """What the lock names, in class path order."""
    lines = [line.split() for line in lock.read_text().splitlines() if line and not line.startswith("#")]
    return [Jar(coordinates, int(size), sha256) for coordinates, size, sha256 in lines]


def class_path(
    progress: Progress, *, cache: Path | None = None, repository: str | None = None, jars: list[Jar] | None = None
) -> list[Path]:
    """The locked archives as files, downloading what is missing; with all of them there, no network is touched.

    ``cache``: where they are kept; ``repository``: address of a Maven repository, by default Maven Central.
    Raises ServiceError when one cannot be had or differs from the lock.
    """
    jars = locked() if jars is None else jars
    folder = (cache or cache_dir()) / f"kafka-{KAFKA}"
    missing = [jar for jar in jars if not _present(folder / jar.filename, jar)]
    if missing:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder).free
        except OSError as error:
            raise ServiceError(
                f"Apache Kafka cannot be kept in {folder}: {error.strerror}. "
                "Make it writable for this user, or set XDG_CACHE_HOME to a folder that is."
            ) from error
        wanted = sum(jar.size for jar in missing)
        if free < wanted:
            raise ServiceError(
                f"Apache Kafka needs {wanted // 2**20 + 1} MiB in {folder}, only {free // 2**20} MiB are free there. "
                "Free some space, or set XDG_CACHE_HOME to a folder on another disk."
            )
        _download(missing, folder, repository or MAVEN_CENTRAL_URL, progress)
    return [folder / jar.filename for jar in jars]


def _present(path: Path, jar: Jar) -> bool:
    """Written under its final name only after its hash was checked, so the size is enough here."""
    try:
        return path.stat().st_size == jar.size
    except OSError:
        return False


def _download(jars: list[Jar], folder: Path, repository: str, progress: Progress) -> None:
    stop = threading.Event()  # set on the first failure, so that the other threads end soon
    with (
        requests.Session() as session,
        progress.task(f"Downloading Apache Kafka {KAFKA}", [jar.size for jar in jars]) as task,
        ThreadPoolExecutor(PARALLEL) as pool,
    ):
        session.mount("https://", requests.adapters.HTTPAdapter(pool_maxsize=PARALLEL, max_retries=TRIES))
        futures = [pool.submit(_fetch, session, repository, jar, folder, stop, task.advance) for jar in jars]
        try:
            for future in as_completed(futures):
                future.result()
                task.file_done()
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def _fetch(
    session: requests.Session,
    repository: str,
    jar: Jar,
    folder: Path,
    stop: threading.Event,
    advance: Callable[[int], None],
) -> None:
    url = f"{repository.rstrip('/')}/{jar.path}"
    part = folder / f"{jar.filename}.{os.getpid()}.part"
    try:
        digest = hashlib.sha256()
        with session.get(url, stream=True, timeout=TIMEOUT) as response, part.open("wb") as file:
            response.raise_for_status()
            for chunk in response.iter_content(65_536):
                if stop.is_set():
                    return
                file.write(chunk)
                digest.update(chunk)
                advance(len(chunk))
        if digest.hexdigest() != jar.sha256:
            raise ServiceError(
                f"{url} is not the file that was locked (SHA-256 {digest.hexdigest()}, expected {jar.sha256}). "
                "Nothing of it is kept. If a proxy or mirror stands in between, it changed or replaced the file."
            )
        part.replace(folder / jar.filename)
    except requests.RequestException as error:
        raise ServiceError(_why(url, error)) from error
    except OSError as error:
        raise ServiceError(
            f"{jar.filename} cannot be written to {folder}: {error.strerror}. "
            "Free some space there, or set XDG_CACHE_HOME to another folder."
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _why(url: str, error: requests.RequestException) -> str:
    """What stood in the way of the download, and what helps."""
    if isinstance(error, requests.exceptions.SSLError):
        advice = "The certificate is not trusted: if a proxy inspects TLS, set REQUESTS_CA_BUNDLE to its CA file."
    elif isinstance(error, requests.exceptions.ProxyError):
        advice = "The proxy in HTTPS_PROXY does not let this through: correct it, or unset it."
    elif isinstance(error, requests.exceptions.HTTPError):
        advice = "The repository refused: check the address of the Maven repository in the settings."
    else:
        advice = (
            "Check that this machine is online; behind a proxy set HTTPS_PROXY, with a mirror name it in the settings."
        )
    return (
        f"Apache Kafka could not be downloaded from {url}: {error}. {advice} "
        "What was downloaded so far is kept. Or use an own Kafka: set its address (kafka) in the settings."
    )


def resolve() -> list[str]:
    """Coordinates of all that the broker needs, as Maven resolves them. Reads POM files from the network."""
    import jgo

    found = {f"{a.groupId}:{a.artifactId}:{a.version}" for a in jgo.resolve(BROKER)}
    return sorted({*found, *ALONE})


def write_lock(coordinates: Iterable[str], lock: Path = LOCK, *, command: str = "python -m streams.local.jars") -> None:
    """Download every archive once and write down what it is. ``command``: by which a person does that again."""
    rows = []
    for name in coordinates:
        jar = Jar(name, 0, "")
        response = requests.get(f"{MAVEN_CENTRAL_URL}/{jar.path}", timeout=TIMEOUT)
        response.raise_for_status()
        rows.append(f"{name} {len(response.content)} {hashlib.sha256(response.content).hexdigest()}")
    head = f"# Written by `{command}`: coordinates, bytes, SHA-256.\n"
    lock.write_text(head + "\n".join(rows) + "\n")


if __name__ == "__main__":
    write_lock(resolve())
