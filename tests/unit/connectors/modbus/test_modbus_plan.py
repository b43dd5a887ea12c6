"""Properties of the polling plan."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from connectors.modbus.config import ModbusDevice
from connectors.modbus.plan import plan

WORDS = {"uint16": 1, "float32": 2, "float64": 4}


@st.composite
def devices(draw):
    limit = draw(st.integers(4, 125))
    places = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["coil", "discrete", "holding", "input"]),
                st.integers(0, 400),
                st.sampled_from(list(WORDS)),
            ),
            min_size=1,
            max_size=40,
        )
    )
    registers = [
        {
            "point": f"p{i}",
            "kind": kind,
            "address": address,
            "type": "bool" if kind in ("coil", "discrete") else type_,
            "unit": "1",
            "scale_factor": None if kind in ("coil", "discrete") else draw(st.none() | st.integers(0, 400)),
        }
        for i, (kind, address, type_) in enumerate(places)
    ]
    return ModbusDevice.model_validate(
        {
            "name": "d",
            "host": "127.0.0.1",
            "registers": registers,
            "max_registers": limit,
            "max_bits": draw(st.integers(1, 2000)),
            "max_hole": draw(st.integers(0, 124)),
        }
    )


@given(devices())
def test_plan_when_any_register_map_reads_each_point_exactly_once_and_whole(device):
    requests = plan(device, device.registers)
    points = [register.point for request in requests for register in request.registers]
    assert sorted(points) == sorted(register.point for register in device.registers)
    factors = [(factor.kind, factor.address) for request in requests for factor in request.factors]
    assert sorted(factors) == sorted({(r.kind, r.scale_factor) for r in device.registers if r.scale_factor is not None})
    for request in requests:
        answer = list(range(request.address, request.address + request.count))
        for register in request.registers:
            assert register.kind is request.kind
            assert answer[request.place(register)] == list(range(register.address, register.end))


@given(devices())
def test_plan_when_any_register_map_stays_within_what_the_device_allows(device):
    for request in plan(device, device.registers):
        assert 1 <= request.count <= (device.max_bits if request.kind.is_bit else device.max_registers)
        assert request.address + request.count <= 65_536
        used = {address for part in request.parts for address in range(part.address, part.end)}
        hole = 0
        for address in range(request.address, request.address + request.count):
            hole = 0 if address in used else hole + 1
            assert hole <= device.max_hole


@given(devices(), st.lists(st.integers(0, 400), max_size=30))
def test_plan_when_addresses_are_forbidden_reads_none_of_them(device, addresses):
    kinds = {"coil", "discrete", "holding", "input"}
    parts = [part for request in plan(device, device.registers) for part in request.parts]
    taken = {(part.kind, address) for part in parts for address in range(part.address, part.end)}
    free = {(kind, address) for kind in kinds for address in addresses} - taken
    forbidden = [{"kind": kind, "first": address, "last": address} for kind, address in sorted(free)]
    careful = ModbusDevice.model_validate(
        {"name": "d", "host": "127.0.0.1", "registers": device.registers, "max_hole": 124, "forbidden": forbidden}
    )
    for request in plan(careful, careful.registers):
        read = {(request.kind, address) for address in range(request.address, request.address + request.count)}
        assert not read & free


@given(devices())
def test_plan_when_two_requests_could_be_one_joins_them(device):
    requests = plan(device, device.registers)
    for first, second in pairwise(requests):
        if first.kind is second.kind:
            limit = device.max_bits if first.kind.is_bit else device.max_registers
            hole = second.address - (first.address + first.count)
            together = max(second.parts[0].end, first.address + first.count) - first.address
            assert hole > device.max_hole or together > limit


@given(devices())
def test_halves_when_taken_down_to_the_end_name_every_point_alone(device):
    waiting, alone = plan(device, device.registers), []
    while waiting:
        request = waiting.pop()
        parts = request.halves()
        assert parts or len(request.parts) == 1
        waiting.extend(parts)
        alone += [] if parts else [register.point for register in request.registers]
    assert sorted(alone) == sorted(register.point for register in device.registers)


@given(devices())
def test_halves_when_taken_hold_the_same_points_and_read_no_more(device):
    for request in plan(device, device.registers):
        if halves := request.halves():
            assert tuple(part for half in halves for part in half.parts) == request.parts
            assert all(half.count <= request.count for half in halves)
