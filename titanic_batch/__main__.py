"""Lets ``python -m titanic_batch`` run the ``titanic`` command."""

from __future__ import annotations

import sys

from titanic_batch.errors import NotebookError, TransferError
from titanic_batch.reading.limits import COMMAND_SIZE, require_memory
from titanic_batch.runs.exit_codes import code_of


def main() -> None:
    """Run the command, unless there is too little memory to import it, or its help lacks the notebook's words."""
    try:
        require_memory(COMMAND_SIZE)
        from titanic_batch.cli.command import main as run
    except (NotebookError, TransferError) as error:
        sys.stderr.write(f"titanic: {error}\n")
        sys.exit(code_of(error))
    run()


if __name__ == "__main__":
    main()
