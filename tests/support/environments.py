"""Programs whose libraries conflict with ours, each in an environment of its own that is kept for the next session."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from tests.support.locks import one_at_a_time

__all__ = ["kept_environment"]


def kept_environment(kept: Path, *requirements: str) -> Path:
    """Return the folder of programs of an environment, which is made if it is missing.

    Args:
        kept: folder for all environments of a kind.
        requirements: pinned, so that an environment of the same ones is the same.
    """
    name = "-".join(one.replace("==", "-") for one in requirements[:1])
    digest = sha256(" ".join(requirements).encode()).hexdigest()[:8]
    folder = kept / f"{name}-{digest}-python-{sys.version_info[0]}.{sys.version_info[1]}"
    is_complete = folder / "complete"
    with one_at_a_time(kept / "lock"):
        if not is_complete.exists():
            uv, python = [str(Path(sys.executable).parent / "uv"), "--quiet"], str(folder / "bin" / "python")
            subprocess.run([*uv, "venv", "--clear", "--python", sys.executable, str(folder)], check=True)
            subprocess.run([*uv, "pip", "install", "--compile-bytecode", "--python", python, *requirements], check=True)
            is_complete.touch()
    return folder / "bin"
