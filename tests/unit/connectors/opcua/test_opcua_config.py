"""What the settings refuse, and that they say all of it at once."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from connectors.opcua.config import OpcUaServer


def server(**fields):
    node = {"point": "p", "namespace": "urn:x", "identifier": "s=A.B", "unit": "MW"}
    return {"name": "d", "url": "opc.tcp://127.0.0.1:4840", "nodes": [node], **fields}


def with_node(**fields):
    return server(nodes=[{**server()["nodes"][0], **fields}])


def triggered(**triggers):
    """Nodes by point, each with its trigger."""
    node = server()["nodes"][0]
    return [{**node, "point": point, **({"triggered_by": by} if by else {})} for point, by in triggers.items()]


def with_browse(**fields):
    return server(browse=[{"path": "Plant/*", "namespace": "urn:x", "unit": "MW", **fields}])


def problems(settings, folder=None) -> str:
    with pytest.raises(ValidationError) as caught:
        OpcUaServer.model_validate(settings, context={"folder": folder} if folder else None)
    return "\n".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in caught.value.errors())


@pytest.mark.parametrize(
    "identifier",
    ["i=0", "i=4294967295", "s=A;ns=3=x", "g=09087e75-8e5e-499b-954f-f2a9603db28a", "b=M/RbKBsRVkePCePcx24oRA=="],
)
def test_node_when_the_identifier_is_one_of_the_four_kinds_is_taken(identifier):
    assert OpcUaServer.model_validate(with_node(identifier=identifier)).nodes[0].identifier == identifier


@pytest.mark.parametrize("identifier", ["", "A.B", "s=", "i=-1", "i=4294967296", "g=no", "b=***", "ns=2;s=A"])
def test_node_when_the_identifier_is_something_else_is_refused(identifier):
    text = problems(with_node(identifier=identifier))
    assert "nodes.0.identifier" in text
    assert "expected i=NUMBER" in text


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (server(url="http://127.0.0.1"), "expected opc.tcp://HOST"),
        (server(url="opc.tcp://me:secret@127.0.0.1"), "does not belong into the address"),
        (server(url="opc.tcp://plc.example"), "allow_plaintext = true"),
        (server(keep_alive=0.2), "not be shorter than publishing_interval"),
        (server(nodes=[]), "give at least one of nodes, browse and events"),
        (server(events=[{"path": "Plant/*"}]), "must name one object"),
        (server(events=[{"path": "Plant", "identifier": "i=1"}]), "either path, or namespace and identifier"),
        (server(events=[{"severity": 1001}]), "less than or equal to 1000"),
        (with_node(queue_size=1), "greater than or equal to 2"),
        (with_node(deadband={"absolute": 1, "percent": 1}), "either absolute or percent"),
        (with_node(deadband={"percent": 101}), "less than or equal to 100"),
        (with_node(deadband={}), "either absolute or percent"),
        (with_node(unit=""), "at least 1 character"),
        (with_node(select="Power..Active"), "is no place in a value"),
        (with_node(select="Phases[x]"), "is no place in a value"),
        (with_browse(path="Plant//Power"), "is no browse path"),
        (with_browse(path="Plant/a**"), "must stand alone"),
        (with_browse(point="power"), "would give every point one name"),
        (with_browse(point="{name}{0}"), "would give every point one name"),
        (server(login={"certificate": __file__, "private_key": __file__}), "needs [opcua.security]"),
        (server(login={"certificate": __file__}), "certificate and private_key belong together"),
        (server(login={}), "either username or certificate"),
        (server(nodes=triggered(p="", q="r")), 'nodes[1]: triggered_by = "r" is no point of nodes (p, q)'),
        (server(nodes=triggered(p="p")), 'nodes[0]: triggered_by = "p" is the node itself'),
        (server(nodes=triggered(p="q", q="p")), 'nodes[1]: triggered_by = "p" waits for "q" itself'),
        (server(nodes=triggered(p="", q="p", r="q")), 'nodes[2]: triggered_by = "q" waits for "p" itself'),
        (with_node(triggered_by="Plant/*"), "what browse finds cannot be a trigger"),
        (with_browse(triggered_by="{path}"), "browse[0]: triggered_by"),
        (with_browse(triggered_by="p", silence=10), "give silence to the trigger"),
    ],
)
def test_server_when_it_cannot_be_meant_is_refused_with_the_reason(settings, said):
    assert said in problems(settings)


def test_node_when_it_waits_for_a_trigger_keeps_its_newest_sample_unless_told_to_keep_more():
    p, q, r = triggered(p="", q="p", r="p")
    nodes = OpcUaServer.model_validate(server(nodes=[p, q, {**r, "queue_size": 7}])).nodes
    assert [node.queue for node in nodes] == [100, 1, 7]


def test_server_when_several_things_are_wrong_names_all_of_them():
    node = server()["nodes"][0]
    text = problems(server(url="opc.tcp://plc.example", keep_alive=0.2, nodes=[node, node]))
    assert "allow_plaintext" in text
    assert "keep_alive" in text
    assert "nodes[0] and nodes[1]" in text


def test_server_when_it_is_another_machine_needs_security_or_consent(tmp_path):
    for name in ("own.pem", "key.pem"):
        (tmp_path / name).write_text("x")
    security = {"certificate": "own.pem", "private_key": "key.pem", "trust_folder": "trusted"}
    away = server(url="opc.tcp://plc.example", security=security)
    assert "there is no folder" in problems(away, tmp_path)
    (tmp_path / "trusted").mkdir()
    assert "holds no certificate" in problems(away, tmp_path)
    (tmp_path / "trusted" / "plc.der").write_bytes(b"x")
    loaded = OpcUaServer.model_validate(away, context={"folder": tmp_path})
    assert loaded.host == "plc.example"
    assert loaded.security is not None
    assert OpcUaServer.model_validate(server(url="opc.tcp://plc.example", allow_plaintext=True)).security is None


def test_server_when_a_password_stands_in_the_file_is_refused():
    assert "login.password" in problems(server(login={"username": "u", "password": "secret"}))
