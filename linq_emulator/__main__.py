"""Starts the emulator: `linq-emulator`, or `python -m linq_emulator`."""

from __future__ import annotations


def main() -> None:
    """Run the command line, or report which extra is missing."""
    try:
        from linq_emulator.cli import main as run
    except ModuleNotFoundError as error:
        # Every extra of the distribution installs this script. Only its own extra installs what it needs.
        raise SystemExit(f"linq-emulator: {error}; it needs pip install 'linq-connectors[emulator]'") from None
    run(prog_name="linq-emulator")


if __name__ == "__main__":
    main()
