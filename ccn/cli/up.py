"""up"""


def up() -> None:
    """Start."""
