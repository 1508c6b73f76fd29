"""`python -m simulst`."""

from simulst.cli import main

main()
