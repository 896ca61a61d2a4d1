"""Install the packages that package-lock.json pins, where Node is present; with `lock`, pin the newest that package.json allows."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LOCK = HERE / "package-lock.json"


def is_possible() -> bool:
    return bool(shutil.which("node") and shutil.which("npm"))


def install() -> None:
    """Install what the lock file pins, unless it is there."""
    there = HERE / "node_modules/.package-lock.json"
    if not there.exists() or there.stat().st_mtime < LOCK.stat().st_mtime:
        _npm("ci")


def lock() -> None:
    """Write the lock file anew, without the addresses at which its authors take donations."""
    LOCK.unlink(missing_ok=True)
    _npm("install", "--package-lock-only")
    told = json.loads(LOCK.read_text())
    for package in told["packages"].values():
        package.pop("funding", None)
    LOCK.write_text(json.dumps(told, indent=2, ensure_ascii=False) + "\n")


def _npm(*command: str) -> None:
    subprocess.run(["npm", *command, "--no-audit", "--no-fund", "--silent"], cwd=HERE, check=True)


if __name__ == "__main__" and sys.argv[1:] == ["lock"]:
    if not is_possible():
        sys.exit("Missing: node and npm (on Debian: apt-get install nodejs npm).")
    lock()
