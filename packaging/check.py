"""Installs what `make dist` has built into environments of their own, as a user does, and looks whether it is there."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DIST: Final = ROOT / "dist"

#: What is installed, and a command or some Python that needs it.
CHECKS: Final = {
    "linq-connectors": ["python", "-c", "import linq_client, importlib.util as u; assert not u.find_spec('airflow')"],
    "tap-linq": ["tap-linq", "--version"],
    "airflow-provider-linq": ["airflow", "providers", "get", "linq-connectors"],
}


def check(name: str, command: list[str], folder: Path) -> None:
    """Install one distribution, and run its command.

    Raises:
        subprocess.CalledProcessError: one of both has failed; it has said why.
    """
    uv = Path(sys.executable).with_name("uv")
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    # Pre-releases: the version is one until it is released.
    options = ["--quiet", "--prerelease", "if-necessary-or-explicit", "--find-links", DIST]
    pins = ["--python", folder / "bin" / "python", "--constraint", ROOT / "constraints.txt"]
    (wheel,) = DIST.glob(f"{name.replace('-', '_')}-*.whl")
    main = next(DIST.glob("linq_connectors-*.whl"))
    wheels = [wheel] if wheel == main else [wheel, main]
    subprocess.run([uv, "pip", "install", *options, *pins, *wheels], check=True)
    environment = {
        "PATH": f"{folder / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        "AIRFLOW_HOME": str(folder / "airflow"),
    }
    subprocess.run([folder / "bin" / command[0], *command[1:]], check=True, env=environment, cwd=folder)


def main() -> None:
    (source,) = DIST.glob("linq_connectors-*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    missing = {"Makefile", "constraints.txt", "tests/conftest.py", "packaging/check.py", "LICENSE"} - names
    if missing:
        sys.exit(f"{source.name} lacks {sorted(missing)}")
    (wheel,) = DIST.glob("linq_connectors-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        missing = {"linq_emulator/ui/static/index.html", "linq_emulator/ui/static/main.js"} - set(archive.namelist())
    if missing:
        sys.exit(f"{wheel.name} lacks {sorted(missing)}")
    for name, command in CHECKS.items():
        with tempfile.TemporaryDirectory() as folder:
            check(name, command, Path(folder) / "venv")
        print(f"{name}: installed, and works")


if __name__ == "__main__":
    main()
