"""Starts the command line: `linq-webhooks`, or `python -m linq_webhooks`."""

from __future__ import annotations


def main() -> None:
    """Run the command line, or report which extra is missing."""
    try:
        from linq_webhooks.cli import main as run
    except ModuleNotFoundError as error:
        # Every extra of the distribution installs this script. Only its own extra installs what it needs.
        raise SystemExit(f"linq-webhooks: {error}; it needs pip install 'linq-connectors[webhooks]'") from None
    run(prog_name="linq-webhooks")


if __name__ == "__main__":
    main()
