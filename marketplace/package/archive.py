"""Read the files that matter from a package: a .zip, or a folder on the command line. Nothing is unpacked to disk."""

import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from django.utils.translation import gettext as _

from portal.foundation.text import describe

from .documents import MAX_BYTES
from .overlooked import FILES
from .problems import ERROR, Problem

MANIFEST, OAUTH, REQUESTS, IPARAMS = FILES
MAX_ARCHIVE_BYTES = 5 * 1024 * 1024
MAX_ENTRIES = 2000
MAX_UNPACKED_BYTES = 50 * 1024 * 1024
# What zipfile has been seen to raise for malformed archives.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    OverflowError,
)


# The first bytes of other archive formats.
_OTHER_KINDS = {b"\x1f\x8b": ".gz", b"Rar!": ".rar", b"7z\xbc\xaf": ".7z", b"BZh": ".bz2", b"\xfd7zXZ": ".xz"}


class Unusable(Exception):
    """The package cannot be read at all. `problem` says why."""

    def __init__(self, file: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.problem = Problem(ERROR, file, "", None, message, fix)


@dataclass
class Unpacked:
    """The files that a package has of FILES, and the names of all its others."""

    files: dict[str, bytes]
    others: list[str]


def read_zip(data: bytes) -> Unpacked:
    """Read an archive. Raises Unusable."""
    if not data:
        raise Unusable("", _("The file is empty."), _("Upload the app’s .zip file."))
    if len(data) > MAX_ARCHIVE_BYTES:
        raise Unusable(
            "",
            _("The package is larger than %(most)d MB.") % {"most": MAX_ARCHIVE_BYTES // 2**20},
            _("Remove files that the app does not need."),
        )
    for start, kind in _OTHER_KINDS.items():
        if data.startswith(start):
            raise Unusable("", _("This is a %(kind)s file, not a .zip.") % {"kind": kind}, _("Pack the app as a .zip."))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            by_name = _by_name(archive.infolist())
            files = {file: _take(archive, file, by_name[file]) for file in FILES if file in by_name}
            return Unpacked(files, [name for name in by_name if name not in files])
    except _BROKEN:
        raise Unusable("", _("This is not a .zip file, or it is damaged."), _("Pack the app again.")) from None


def _by_name(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by name. Raises Unusable if an entry might not be a regular file."""
    if not entries:
        raise Unusable("", _("The archive is empty."), _("Put the app’s files in the archive."))
    if len(entries) > MAX_ENTRIES:
        raise Unusable(
            "",
            _("The package has more than %(most)d files.") % {"most": MAX_ENTRIES},
            _("Remove files that the app does not need."),
        )
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise Unusable(
            "",
            _("The package unpacks to more than %(most)d MB.") % {"most": MAX_UNPACKED_BYTES // 2**20},
            _("Remove files that the app does not need."),
        )
    found: dict[str, zipfile.ZipInfo] = {}
    for entry in entries:
        name = _check_entry(entry)
        if name in found:
            raise Unusable(_shown(name), _("This file is in the package twice."), _("Keep one of them."))
        found[name] = entry
    files = {n: entry for n, entry in found.items() if not n.endswith("/") and not n.startswith("__MACOSX/")}
    return _without_folder(files)


def _check_entry(entry: zipfile.ZipInfo) -> str:
    """Return the name of an entry. Raises Unusable."""
    # The raw name: zipfile cuts a name at a NUL. Some tools write “\” between folders.
    name = entry.orig_filename.replace("\\", "/")
    if wrong := re.search(r"[\0-\x1f\x7f]", name):
        raise Unusable(
            _shown(name),
            _("The name has a character that is not allowed in file names: %(character)s.")
            % {"character": describe(wrong[0])},
            _("Rename the file."),
        )
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        raise Unusable(_shown(name), _("This path is absolute."), _("Use paths relative to the app’s folder."))
    if ".." in name.split("/"):
        raise Unusable(_shown(name), _("This path points outside the package."), _("Use paths without “..”."))
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise Unusable(_shown(name), _("This is a symbolic link."), _("Put the file itself into the package."))
    if entry.flag_bits & 1:
        raise Unusable(_shown(name), _("This file is encrypted."), _("Pack the app without a password."))
    return name


def _shown(name: str) -> str:
    return name.encode("unicode_escape").decode()[:200]


def _without_folder(found: dict[str, zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """Return the same files without the one folder that an archive may wrap them in."""
    tops = {name.partition("/")[0] for name in found}
    if MANIFEST in found or len(tops) != 1 or tops == {"config"}:
        return found
    folder = f"{tops.pop()}/"
    return {name.removeprefix(folder): entry for name, entry in found.items()}


def _take(archive: zipfile.ZipFile, name: str, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unusable(
            _shown(name),
            _("The portal cannot read this file’s compression method."),
            _("Use standard .zip compression."),
        )
    with archive.open(entry) as file:
        # One byte over the limit, so that the reader of the file reports it as too large.
        return file.read(MAX_BYTES + 1)


def read_folder(folder: Path) -> Unpacked:
    """Read a folder. Raises Unusable."""
    found = {}
    for file in FILES:
        path = folder / file
        if path.is_symlink() or (path.parent.is_symlink() and path.parent != folder):
            raise Unusable(file, _("This is a symbolic link."), _("Put the file itself into the package."))
        if path.is_file():
            with open(path, "rb") as opened:
                found[file] = opened.read(MAX_BYTES + 1)
    return Unpacked(found, [name for name in islice(_listed(folder), MAX_ENTRIES) if name not in found])


def _listed(folder: Path) -> Iterator[str]:
    for here, inner, files in os.walk(folder):
        inner[:] = sorted(name for name in inner if name != "node_modules" and not name.startswith("."))
        for name in sorted(files):
            yield (Path(here) / name).relative_to(folder).as_posix()
