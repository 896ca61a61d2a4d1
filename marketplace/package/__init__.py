"""App packages: reading them, checking them, converting old ones. Nothing in a package is ever run."""

from pathlib import Path

from .archive import FILES, Unusable, read_folder, read_zip
from .checks import check
from .facts import Facts
from .problems import Report

__all__ = ["FILES", "Facts", "Report", "check", "check_archive", "check_folder"]


def check_archive(data: bytes, facts: Facts) -> Report:
    """Check the bytes of a .zip: any bytes give a report."""
    try:
        return check(read_zip(data), facts)
    except Unusable as refused:
        return Report(problems=[refused.problem])


def check_folder(folder: Path, facts: Facts) -> Report:
    try:
        return check(read_folder(folder), facts)
    except Unusable as refused:
        return Report(problems=[refused.problem])
