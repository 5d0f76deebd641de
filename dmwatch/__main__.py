"""`python -m dmwatch` is the command `dmwatch`."""

from dmwatch.cli import main

main()
