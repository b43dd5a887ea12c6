"""What the host application says of itself, by the assertion ids of the specification's test kit."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest
from prometheus_client import REGISTRY

from connectors.mqtt.session import Lost
from connectors.publisher import Publisher
from connectors.sparkplug.connector import SparkplugConnector
from streams.engine.cluster import Cluster

LIVE = {"connector": "sparkplug", "device": "", "state": "live"}


def is_live():
    return REGISTRY.get_sample_value("gridtape_connector_state", LIVE) == 1


def states(watch):
    return [(json.loads(payload), qos, retained) for _, payload, qos, retained in watch.on("/STATE/")]


def test_state_when_the_host_comes_and_goes_it_says_so(mosquitto, settings, running, tape, watch, group):
    """tck-id-host-topic-phid-birth-topic, -birth-payload, -birth-qos, -birth-required, -birth-message;
    tck-id-host-topic-phid-death-topic, -death-payload, -death-qos, -death-payload-disconnect-clean;
    tck-id-operational-behavior-host-application-termination."""
    before = time.time_ns() // 1_000_000
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        tape.until(lambda: states(watch), "the birth")
        assert not [topic for topic, *_ in watch.messages if "/STATE/" not in topic], "the birth is the first"
    tape.until(lambda: len(states(watch)) == 2, "the death")
    (birth, birth_qos, _), (death, death_qos, _) = states(watch)
    assert watch.messages[0][0] == f"spBv1.0/STATE/host-{group}"
    assert (birth["online"], death["online"], birth_qos, death_qos) == (True, False, 1, 1)
    assert set(birth) == set(death) == {"online", "timestamp"}
    assert before <= birth["timestamp"] <= death["timestamp"] <= time.time_ns() // 1_000_000


def test_state_when_published_is_retained(mosquitto, settings, running, tape, watcher, group):
    """tck-id-host-topic-phid-birth-retain, tck-id-host-topic-phid-death-retain."""
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        tape.until(is_live, "connected")
        late = watcher(mosquitto, f"spBv1.0/STATE/host-{group}")
        tape.until(lambda: states(late), "the birth")
        assert states(late)[0][2]


def test_state_when_somebody_says_that_the_host_is_away_it_contradicts_at_once_with_its_old_time(
    mosquitto, settings, running, tape, watch, group
):
    """tck-id-message-flow-hid-sparkplug-state-message-delivered."""
    with running(lambda outlet: SparkplugConnector(settings(mosquitto), outlet)):
        tape.until(lambda: states(watch), "the birth")
        payload = json.dumps({"online": False, "timestamp": 1})
        watch.client.publish(f"spBv1.0/STATE/host-{group}", payload, qos=1, retain=True)
        tape.until(lambda: len(states(watch)) >= 3, "the birth again")
        assert states(watch)[2][0] == states(watch)[0][0]


def test_state_when_two_hosts_share_a_broker_neither_disturbs_the_other(
    mosquitto, settings, running, tape, watch, edge, group
):
    first, second = settings(mosquitto), settings(mosquitto, host_id=f"other-{group}", client_id=f"other-{group}")
    with running(lambda outlet: SparkplugConnector(first, outlet)):
        tape.until(lambda: states(watch), "the first")
        with running(lambda outlet: SparkplugConnector(second, outlet)):
            tape.until(is_live, "the second")
        assert [state["online"] for state, _, _ in states(watch)] == [True]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_state_when_connecting_the_session_is_clean_and_the_will_is_our_death(settings, protocol, group):
    """tck-id-message-flow-phid-sparkplug-clean-session-311, -50; tck-id-payloads-state-will-message, -qos, -retain,
    -payload; tck-id-operational-behavior-host-application-connect-will, -will-topic, -will-qos, -will-retained,
    -will-payload; tck-id-host-topic-phid-death-required, -death-payload-connect."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = settings(("127.0.0.1", listener.getsockname()[1]), protocol=protocol)
        publisher = Publisher(Cluster("127.0.0.1:1"), "sparkplug-connect")
        session = SparkplugConnector(config, publisher).session()
        packets: list[bytes] = []

        def answer() -> None:
            peer, _ = listener.accept()
            with peer:
                packets.append(peer.recv(4096))

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Lost):
            session.connect(threading.Event())
        thread.join(10)
        session.close()
        publisher.close(0.0)
    (packet,) = packets
    flags = packet[packet.index(b"MQTT") + 5]
    clean, will, will_qos, will_retained = flags >> 1 & 1, flags >> 2 & 1, flags >> 3 & 3, flags >> 5 & 1
    assert (clean, will, will_qos, will_retained) == (1, 1, 1, 1)
    assert f"spBv1.0/STATE/host-{group}".encode() in packet
    start = packet.index(b"{")
    death = json.loads(packet[start : packet.index(b"}", start) + 1])
    assert death["online"] is False
    assert abs(death["timestamp"] - time.time_ns() // 1_000_000) < 60_000
    if protocol == "5":
        assert b"\x11\0\0\0\0" in packet, "session expiry interval 0"
