"""Run `python -m ulmkit` as the command `ulmkit`."""

from ulmkit.cli import main

main()
