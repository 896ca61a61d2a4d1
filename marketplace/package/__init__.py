"""App packages: reading them, checking them, converting old ones. Nothing in a package is ever run."""

from pathlib import Path

from .archive import FILES, IPARAMS, MANIFEST, OAUTH, REQUESTS, Unusable, read_folder, read_zip
from .checks import check
from .facts import Facts
from .problems import ERROR, WARNING, Problem, Report

__all__ = [
    "ERROR", "FILES", "IPARAMS", "MANIFEST", "OAUTH", "REQUESTS", "WARNING", "Facts", "Problem", "Report", "check", "check_archive",
    "check_folder",
]  # fmt: skip


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
