"""`python -m ccn`, for a checkout whose `ccn` is not on the path."""

from ccn import cli

cli.main()
