"""Commands on the field where an extra is not installed."""

from __future__ import annotations

import subprocess
import sys

COMMANDS = {
    "connect discover mqtt://127.0.0.1": "mqtt",
    "connect discover opc.tcp://127.0.0.1": "opcua",
    "connect discover modbus://127.0.0.1": "modbus",
    "plant gas": "modbus",
    "plant wind": "opcua",
    "plant battery": "mqtt",
    "modbus write plant.toml gas-1 valve 1 --reason test": "modbus",
}
ALL_IN_ONE_PROCESS = """
import sys
from streams.cli import main
for library in ("asyncua", "cbor2", "paho", "pymodbus"):
    sys.modules[library] = None
for line in sys.stdin:
    sys.argv[1:] = line.split()
    try:
        main()
    except SystemExit as ended:
        print(ended.code, file=sys.stderr)
"""


def test_commands_when_the_library_of_a_protocol_is_not_installed_say_which_extra_has_it() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ALL_IN_ONE_PROCESS],
        input="\n".join(COMMANDS),
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = [line for line in ended.stderr.splitlines() if not line.startswith("error: ")]
    assert len(told) == 2 * len(COMMANDS), ended.stderr
    for command, said, code in zip(COMMANDS, told[::2], told[1::2], strict=True):
        assert said.endswith(f"install it with: pip install 'gridtape[{COMMANDS[command]}]'"), command
        assert code == "1", command
