"""x"""


def quickstart_command() -> None:
    """TODO"""
