"""`python -m ulmkit`, the same as the command `ulmkit`."""

from ulmkit.cli import main

main()
