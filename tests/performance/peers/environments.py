"""An environment of its own for each peer: locked archives and an own compiler run for Java, a virtual environment for
each Python library. Kept in the cache folder; made anew when their lock or source changes.

``python -m tests.performance.peers.environments`` makes them all; with ``lock`` it writes the locks anew.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from streams.local import jars
from streams.local.jvm import java
from streams.local.progress import Progress

HERE = Path(__file__).parent
JAVA = HERE / "kafka_streams"
JARS = JAVA / "jars.lock"
COMPILER = "org.eclipse.jdt:ecj:3.44.0"
STREAMS = f"org.apache.kafka:kafka-streams:{jars.KAFKA}"
AFTERBURNER = "com.fasterxml.jackson.module:jackson-module-afterburner:2.21.2"
BESIDES = ("kafka-clients", "jackson-annotations", "jackson-core", "jackson-databind", "lz4-java", "slf4j-api")
"""What Kafka Streams needs of the broker's own archives. Without RocksDB (75 MB): the store is in memory."""
PYTHON = {
    "quix": ("quixstreams==3.28.1",),
    "faust": ("faust-streaming==0.15.3", "msgspec", "cramjam"),  # the last: its client reads lz4 with it
    "plot": ("matplotlib",),  # draws the figures; nothing else of gridtape needs it
}
UV = Path(sys.executable).with_name("uv")
COMMAND = "python -m tests.performance.peers.environments lock"


def root() -> Path:
    """Where the environments are kept."""
    return jars.cache_dir() / "peers"


def kafka_streams(progress: Progress) -> list[str]:
    """Command line of the Java peer, compiled if need be. Raises ServiceError when an archive cannot be had."""
    archives = [jar for jar in jars.locked() if any(jar.filename.startswith(name) for name in BESIDES)]
    archives += jars.locked(JARS)
    files = jars.class_path(progress, jars=archives)
    compiler = next(file for file in files if file.name.startswith("ecj"))
    files.remove(compiler)
    sources = sorted(JAVA.glob("*.java"))
    digest = hashlib.sha256(b"".join([source.read_bytes() for source in sources] + [JARS.read_bytes()]))
    classes = root() / f"kafka-streams-{digest.hexdigest()[:16]}"
    class_path = os.pathsep.join(map(str, files))
    if not (classes / "Peer.class").exists():
        compile_java(compiler, class_path, sources, classes)
    heap = ["-Xms1g", "-Xmx1g", "-XX:+UseParallelGC"]
    flags = ["--sun-misc-unsafe-memory-access=allow", "--enable-native-access=ALL-UNNAMED"]
    return [java(), *heap, *flags, "-cp", f"{classes}{os.pathsep}{class_path}", "Peer"]


def compile_java(compiler: Path, class_path: str, sources: list[Path], target: Path) -> None:
    """The wheel's Java runtime has no javac; Eclipse's batch compiler is one archive and reads that runtime itself."""
    target.mkdir(parents=True, exist_ok=True)
    command = [java(), "-cp", str(compiler), "org.eclipse.jdt.internal.compiler.batch.Main", "-21", "-nowarn"]
    done = subprocess.run(
        [*command, "-cp", class_path, "-d", str(target), *map(str, sources)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    if done.returncode:
        raise SystemExit(f"the Kafka Streams peer does not compile:\n{done.stdout}{done.stderr}")


def python(name: str) -> list[str]:
    """Command line of a Python peer, or of the plot; its environment is made if need be."""
    lock = HERE / f"{name}.txt"
    folder = root() / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:16]}"
    interpreter = folder / "bin" / "python"
    complete = folder / "complete"
    if not complete.exists():
        run(UV, "venv", "--quiet", "--clear", "--python", sys.executable, folder)
        run(UV, "pip", "install", "--quiet", "--python", interpreter, "--require-hashes", "-r", lock)
        complete.touch()
    return [str(interpreter), str(HERE / f"{name}_run.py")]


def present() -> bool:
    """Whether everything is here already, so that nothing would be downloaded."""
    files = [jars.cache_dir() / f"kafka-{jars.KAFKA}" / jar.filename for jar in jars.locked(JARS)]
    locks = [hashlib.sha256((HERE / f"{name}.txt").read_bytes()).hexdigest()[:16] for name in PYTHON]
    venvs = [root() / f"{name}-{digest}" / "complete" for name, digest in zip(PYTHON, locks, strict=True)]
    return all(path.exists() for path in [*files, *venvs])


def run(*command: str | Path) -> None:
    """Run a command to its end; its complaints are shown."""
    subprocess.run([str(part) for part in command], check=True, timeout=600)


def write_locks() -> None:
    """Write the lock of every peer anew. Needs the network."""
    jars.write_lock([STREAMS, AFTERBURNER, COMPILER], JARS, command=COMMAND)
    flags = ["--quiet", "--universal", "--generate-hashes", "--python-version", "3.11", "--no-emit-index-url"]
    for name, wanted in PYTHON.items():
        source = root() / f"{name}.in"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text("\n".join(wanted) + "\n")
        target = HERE / f"{name}.txt"
        run(UV, "pip", "compile", *flags, "--no-annotate", "--custom-compile-command", COMMAND, source, "-o", target)


if __name__ == "__main__":
    if sys.argv[1:] == ["lock"]:
        write_locks()
    else:
        with Console().status("making the peers' environments"):
            kafka_streams(Progress())
            for peer in PYTHON:
                python(peer)
