"""Packages of npm for benches and tests, each folder's pinned by its package-lock.json; `python -m tests.load.npm` pins the newest."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).parent
PEER, LIGHTHOUSE, NEWMAN = _HERE / "node", _HERE / "lighthouse", _HERE.parent / "postman"
FOLDERS = (PEER, LIGHTHOUSE, NEWMAN)


def is_possible() -> bool:
    return bool(shutil.which("node") and shutil.which("npm"))


def require() -> None:
    """Exit unless npm can be run."""
    if not is_possible():
        sys.exit("Missing: node and npm (on Debian: apt-get install nodejs npm).")


def install(folder: Path) -> None:
    """Install what the lock file pins, unless it is there."""
    there, pinned = folder / "node_modules/.package-lock.json", folder / "package-lock.json"
    if not there.exists() or there.stat().st_mtime < pinned.stat().st_mtime:
        _npm(folder, "ci")


def lock(folder: Path) -> None:
    """Write the lock file anew, without the addresses at which its authors take donations."""
    pinned = folder / "package-lock.json"
    pinned.unlink(missing_ok=True)
    _npm(folder, "install", "--package-lock-only")
    told = json.loads(pinned.read_text())
    for package in told["packages"].values():
        package.pop("funding", None)
    pinned.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def _npm(folder: Path, *command: str) -> None:
    quiet = ("--no-audit", "--no-fund", "--silent", "--ignore-scripts")
    subprocess.run(["npm", *command, *quiet], cwd=folder, check=True)


if __name__ == "__main__":
    require()
    for each in FOLDERS:
        lock(each)
