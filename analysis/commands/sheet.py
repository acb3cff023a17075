"""To come."""


def register(commands: object) -> None:
    """Adds its parser."""
