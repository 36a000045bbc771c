"""Starts the emulator: `linq-emulator`, or `python -m linq_emulator`."""

from __future__ import annotations


def main() -> None:
    """Run the command line, or say which extra is missing."""
    try:
        from linq_emulator.cli import main as command
    except ModuleNotFoundError as error:
        # The script is installed with every extra of the distribution, what it needs only with its own.
        raise SystemExit(f"linq-emulator: {error}; it needs pip install 'linq-connectors[emulator]'") from None
    command(prog_name="linq-emulator")


if __name__ == "__main__":
    main()
