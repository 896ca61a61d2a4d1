"""Check a package as it was sent, uploaded, filled in or stored."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from portal.accounts.models import Team
from portal.foundation.limits.rates import spend
from portal.foundation.limits.slots import Slots

from .archive import Unusable, read_folder, read_zip
from .checks import check
from .contents import Contents
from .facts import Facts
from .problems import Report

# A check keeps a thread busy for seconds; the other threads go on serving.
checking = Slots(3, each=2)


@contextlib.contextmanager
def one_check(team: Team, *, counts: bool = True) -> Iterator[None]:
    """Hold a slot for one check. Showing a stored package does not count towards the team's limit. Raises TooMany."""
    if counts:
        spend(("packages checked by team", str(team.public_id)))
    with checking.take(team.pk):
        yield


def check_values(files: Mapping[str, Any], facts: Facts) -> Report:
    """Check a stored or filled-in package; line numbers are those of its download."""
    return check({file: text.encode() for file, text in Contents(files).texts().items()}, facts)


def check_archive(data: bytes, facts: Facts) -> Report:
    """Check the bytes of a .zip. Any bytes give a report."""
    try:
        unpacked = read_zip(data)
    except Unusable as refused:
        return Report(problems=[refused.problem])
    return check(unpacked.files, facts, others=unpacked.others)


def check_folder(folder: Path, facts: Facts) -> Report:
    try:
        unpacked = read_folder(folder)
    except Unusable as refused:
        return Report(problems=[refused.problem])
    return check(unpacked.files, facts, others=unpacked.others)
