"""Where `ccn` and `python -m ccn` begin. `ccn node health`, for probes, goes past the command line.

A container runs it every few seconds, and importing the command line takes a third of a second of a core.
"""

import sys


def main() -> None:
    """Run the command that the arguments name."""
    if sys.argv[1:3] == ["node", "health"] and not {"--help", "-h"} & {*sys.argv}:
        from ccn import health  # noqa: PLC0415 - as below

        sys.exit(health.main(sys.argv[3:]))
    from ccn import cli  # noqa: PLC0415 - probes do not wait for it

    cli.main()


if __name__ == "__main__":
    main()
