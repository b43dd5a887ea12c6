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
    requests = plan(device)
    points = [register.point for request in requests for register in request.registers]
    assert sorted(points) == sorted(register.point for register in device.registers)
    for request in requests:
        answer = list(range(request.address, request.address + request.count))
        for register, part in request.slices():
            assert register.kind is request.kind
            assert answer[part] == list(range(register.address, register.end))


@given(devices())
def test_plan_when_any_register_map_stays_within_what_the_device_allows(device):
    for request in plan(device):
        assert 1 <= request.count <= (device.max_bits if request.kind.is_bit else device.max_registers)
        assert request.address + request.count <= 65_536
        used = {address for register in request.registers for address in range(register.address, register.end)}
        hole = 0
        for address in range(request.address, request.address + request.count):
            hole = 0 if address in used else hole + 1
            assert hole <= device.max_hole


@given(devices())
def test_plan_when_two_requests_could_be_one_joins_them(device):
    requests = plan(device)
    for first, second in pairwise(requests):
        if first.kind is second.kind:
            limit = device.max_bits if first.kind.is_bit else device.max_registers
            hole = second.address - (first.address + first.count)
            together = max(second.registers[0].end, first.address + first.count) - first.address
            assert hole > device.max_hole or together > limit


@given(devices())
def test_halves_when_taken_down_to_the_end_name_every_point_alone(device):
    waiting, alone = plan(device), []
    while waiting:
        request = waiting.pop()
        parts = request.halves()
        assert parts or len(request.registers) == 1
        waiting.extend(parts)
        alone += [request.registers[0].point] if not parts else []
    assert sorted(alone) == sorted(register.point for register in device.registers)


@given(devices())
def test_halves_when_taken_hold_the_same_points_and_read_no_more(device):
    for request in plan(device):
        if parts := request.halves():
            assert tuple(r for part in parts for r in part.registers) == request.registers
            assert all(part.count <= request.count for part in parts)
