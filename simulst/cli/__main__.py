"""`python -m simulst.cli`."""

from simulst.cli import main

main()
