"""Lets ``python -m titanic_batch`` run the ``titanic`` command."""

from titanic_batch.cli.command import main

if __name__ == "__main__":
    main()
