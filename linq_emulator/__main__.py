"""Lets ``python -m linq_emulator`` start the emulator."""

from __future__ import annotations

from linq_emulator.cli import main

if __name__ == "__main__":
    main(prog_name="linq-emulator")
