"""The console entry."""


def main() -> None:
    """Run the command line."""
