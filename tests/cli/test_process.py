"""The setup of the command's process: what is freed goes back to the machine."""

from __future__ import annotations

import sys

import pytest

from tests.cli.process import run_process

GROWTH = """
import mmap
from titanic_batch.cli import process

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * mmap.PAGESIZE

process.allocate_sparingly()
process.return_large_blocks()
before, small = resident(), []
for _ in range(4):
    large = []
    for _ in range(16):
        large.append(bytearray(b"x") * 2**21)
        small += [bytes(1_000) for _ in range(100)]  # between the large ones
    large.clear()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the C library is told how to allocate on Linux")
def test_large_blocks_go_back_to_the_machine_whatever_lies_between_them() -> None:
    result = run_process("-c", GROWTH)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 24 * 2**20  # the small ones are 6 MiB
