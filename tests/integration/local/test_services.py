"""Start, stop, restart and failure of the local services, on the real servers."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import redis

from streams.local import LocalServices, ServiceError
from streams.local.kafka import Kafka
from streams.local.mqtt import CONNACK, CONNECT, Amqtt, Mosquitto, find_mosquitto
from streams.local.redis import Redis
from streams.local.service import exchange, free_port, is_free
from tests.conftest import wait_until


def test_redis_when_started_answers_and_is_gone_after_stop(tmp_path: Path) -> None:
    with Redis(tmp_path / "redis") as server:
        client = redis.Redis.from_url(server.url)
        assert client.set("a", "1")
        assert client.config_get("appendonly") == {"appendonly": "no"}
        assert client.config_get("bind") == {"bind": "127.0.0.1"}
        client.close()
        port = server.port
        assert json.loads((tmp_path / "redis" / "redis.json").read_text())["port"] == port
    wait_until(lambda: is_free(port))
    assert "starting Redis" in server.log_path.read_text()
    server.stop()  # a second stop does no harm


def test_service_when_started_again_keeps_its_port(tmp_path: Path) -> None:
    with Redis(tmp_path) as first:
        port = first.port
    with Redis(tmp_path) as second:
        assert second.port == port


def test_service_when_started_again_at_once_waits_for_the_port_that_its_clients_know(tmp_path: Path) -> None:
    server = Redis(tmp_path)
    with server:
        port = server.port
    late = socket.create_server(("127.0.0.1", port))  # as that of a killed process whose memory is not freed yet
    threading.Timer(0.5, late.close).start()
    with server:
        assert server.port == port


def test_service_when_its_last_port_is_taken_takes_another(tmp_path: Path) -> None:
    with Redis(tmp_path) as first:
        port = first.port
    with socket.create_server(("127.0.0.1", port)), Redis(tmp_path) as second:
        assert second.port != port


def test_service_when_the_asked_port_is_taken_says_so(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(ServiceError, match=rf"cannot listen on 127\.0\.0\.1:{port}.*leave the port out"):
            Redis(tmp_path, port).start()


@pytest.mark.parametrize("note", ["", "{", "[]", '{"pid": 1}', '{"pid": 999999999, "port": "x"}'])
def test_service_when_its_note_is_stale_or_damaged_starts(tmp_path: Path, note: str) -> None:
    (tmp_path / "redis.json").write_text(note)
    with Redis(tmp_path) as server:
        assert server.answers()


def test_service_when_one_runs_on_the_folder_names_its_pid(tmp_path: Path) -> None:
    class Impatient(Redis):
        patience_for_last = 0.1

    with Redis(tmp_path) as first:
        pid = json.loads((tmp_path / "redis.json").read_text())["pid"]
        with pytest.raises(ServiceError, match=rf"already runs .*\(pid {pid}, port {first.port}\)"):
            Impatient(tmp_path).start()
        assert first.answers()


def test_service_when_its_starter_is_killed_ends_and_can_start_again(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from streams.local.redis import Redis\n"
        "server = Redis(Path(sys.argv[1])).start(); print('port', server.port, flush=True); time.sleep(600)"
    )
    starter = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert starter.stdout is not None
    port = next(int(line.split()[1]) for line in starter.stdout if line.startswith("port"))
    assert not is_free(port)
    os.kill(starter.pid, signal.SIGKILL)
    starter.wait()
    starter.stdout.close()
    with Redis(tmp_path) as again:  # at once: the one before is still ending
        assert again.answers()
        assert json.loads((tmp_path / "redis.json").read_text())["port"] == again.port
    assert is_free(port)


def test_service_when_told_to_end_while_it_is_being_started_is_waited_for(tmp_path: Path) -> None:
    """It may be ready, and be told to end, before its guard has returned from starting it."""
    slow = (
        "import subprocess, sys, time; from streams.local import guard\n"
        "class Slow(subprocess.Popen):\n"
        "    def __init__(self, *a, **k):\n"
        "        super().__init__(*a, **k); time.sleep(0.5)\n"
        "subprocess.Popen = Slow; sys.exit(guard.main(sys.argv[1:]))"
    )
    server = "trap 'sleep 0.3; echo ended; exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    guarded = subprocess.Popen(
        [sys.executable, "-c", slow, "/bin/sh", "-c", server],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with guarded:
        assert guarded.stdout is not None
        assert guarded.stdout.readline() == "ready\n"
        guarded.send_signal(signal.SIGTERM)
        assert guarded.wait(20) == 3, "what the server says as it ends"
        assert guarded.stdout.read() == "ended\n"


def test_service_when_its_folder_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceError, match=r"cannot use its data folder .*Not a directory.*data_dir"):
        Redis(tmp_path / "file" / "redis").start()


def test_service_when_the_disk_is_nearly_full_says_how_much_is_missing(tmp_path: Path) -> None:
    class Hungry(Redis):
        min_free_bytes = 2**60

    with pytest.raises(ServiceError, match=r"only \d+ MiB are free .* needs \d+ MiB"):
        Hungry(tmp_path).start()


def test_service_when_it_ends_by_itself_is_noticed_with_its_log(tmp_path: Path) -> None:
    with Redis(tmp_path) as server:
        server.check()
        client = redis.Redis.from_url(server.url)
        client.shutdown(nosave=True)
        client.close()
        wait_until(lambda: not server.running)
        with pytest.raises(ServiceError, match=r"(?s)ended by itself with exit code 0.*redis\.log"):
            server.check()


def test_service_when_its_log_is_large_sets_it_aside(tmp_path: Path) -> None:
    (tmp_path / "redis.log").write_bytes(b"x" * (10 * 2**20 + 1))
    with Redis(tmp_path) as server:
        assert (tmp_path / "redis.log.1").stat().st_size > 10 * 2**20
        assert server.log_path.stat().st_size < 2**20


def test_service_when_it_does_not_answer_in_time_is_stopped(tmp_path: Path) -> None:
    class Mute(Redis):
        def answers(self) -> bool:
            return False

    mute = Mute(tmp_path)
    with pytest.raises(ServiceError, match=r"did not answer on 127\.0\.0\.1:\d+ within 1 s"):
        mute.start(timeout=1.0)
    assert not mute.running
    wait_until(lambda: is_free(mute.port))


def test_amqtt_when_started_accepts_a_connection(tmp_path: Path) -> None:
    with Amqtt(tmp_path) as broker:
        assert exchange(broker.port, CONNECT, 4) == CONNACK


@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed (Debian: apt-get install mosquitto)")
def test_mosquitto_when_restarted_still_has_the_retained_message(tmp_path: Path) -> None:
    publish = bytes([0x31, 6]) + b"\x00\x01ahey"  # QoS 0, retain, topic a, payload "hey"
    subscribe = bytes([0x82, 6]) + b"\x00\x01\x00\x01a\x00"

    def talk(port: int, packet: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(CONNECT + packet + b"\xc0\x00")  # PINGREQ: its answer ends the reply
            answer = b""
            while not answer.endswith(b"\xd0\x00"):
                chunk = connection.recv(100)
                assert chunk, answer
                answer += chunk
            return answer

    with Mosquitto(tmp_path) as broker:
        talk(broker.port, publish)
    with Mosquitto(tmp_path) as broker:
        assert b"hey" in talk(broker.port, subscribe)


def test_local_services_when_one_fails_stops_the_others(tmp_path: Path) -> None:
    (tmp_path / "mosquitto").write_text("in the way")
    (tmp_path / "amqtt").write_text("in the way")
    services = LocalServices(tmp_path)
    with pytest.raises(ServiceError, match="cannot use its data folder"):
        services.start(redis=True, mqtt=True)
    port = json.loads((tmp_path / "redis" / "redis.json").read_text())["port"]
    wait_until(lambda: is_free(port))


def test_local_services_when_all_start_give_addresses_and_logs(tmp_path: Path) -> None:
    with LocalServices(tmp_path).start(redis=True, mqtt=True) as services:
        assert services.addresses.kafka is None
        assert services.addresses.redis is not None
        assert services.addresses.redis.startswith("redis://127.0.0.1:")
        assert services.addresses.mqtt_broker in {"Mosquitto", "amqtt"}
        assert all(path.is_file() for path in services.logs.values())
        services.check()


def test_free_port_when_asked_gives_one_that_can_be_bound() -> None:
    port = free_port()
    assert is_free(port)
    with socket.create_server(("127.0.0.1", port)):
        assert not is_free(port)


def test_kafka_when_the_data_are_of_another_node_says_why_and_where_the_log_is(tmp_path: Path) -> None:
    broker = Kafka(tmp_path)
    broker.data.mkdir()
    (broker.data / "meta.properties").write_text("version=1\ncluster.id=abc\nnode.id=7\n")
    with pytest.raises(ServiceError, match=r"(?s)ended with exit code 1 before it was ready.*kafka\.log.*node id"):
        broker.start()
