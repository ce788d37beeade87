"""Lets ``python -m titanic_batch`` run the ``titanic`` command."""

from __future__ import annotations

import sys

from titanic_batch.errors import TransferError
from titanic_batch.reading.limits import COMMAND_SIZE, require_memory
from titanic_batch.runs.exit_codes import TRANSFER_FAILED


def main() -> None:
    """Run the command, unless there is too little memory even to import what parses its arguments."""
    try:
        require_memory(COMMAND_SIZE)
    except TransferError as error:
        sys.stderr.write(f"titanic: {error}\n")
        sys.exit(TRANSFER_FAILED)
    from titanic_batch.cli.command import main as run

    run()


if __name__ == "__main__":
    main()
