"""Takes the files that matter out of a package: a .zip, or on the command line a folder. Nothing is ever unpacked."""

import io
import re
import stat
import zipfile
import zlib
from pathlib import Path

from django.utils.translation import gettext as _

from .documents import MAX_BYTES
from .problems import ERROR, Problem

MANIFEST, OAUTH, REQUESTS, IPARAMS = (
    "manifest.json", "config/oauth_config.json", "config/requests.json", "config/iparams.json",
)  # fmt: skip
FILES = (MANIFEST, OAUTH, REQUESTS, IPARAMS)
MAX_ARCHIVE_BYTES = 5 * 1024 * 1024
MAX_ENTRIES = 2000
MAX_UNPACKED_BYTES = 50 * 1024 * 1024
# What zipfile raises, by experience, on bytes that lie about themselves.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,
    OverflowError,
)


class Unusable(Exception):
    """A package that is refused whole. `problem` says why."""

    def __init__(self, file: str, message: str, fix: str) -> None:
        super().__init__(message)
        self.problem = Problem(ERROR, file, "", None, message, fix)


def read_zip(data: bytes) -> dict[str, bytes]:
    """Return the files of FILES that an archive has. Raises Unusable."""
    if len(data) > MAX_ARCHIVE_BYTES:
        raise Unusable(
            "",
            _("The package is larger than %(most)d MB.") % {"most": MAX_ARCHIVE_BYTES // 2**20},
            _("Leave out what the app does not need."),
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = _guard(archive.infolist())
            return {file: _take(archive, entry) for file, entry in _wanted(entries).items()}
    except _BROKEN:
        raise Unusable("", _("This is not a .zip file, or a damaged one."), _("Pack the app again.")) from None


def _guard(entries: list[zipfile.ZipInfo]) -> list[zipfile.ZipInfo]:
    if len(entries) > MAX_ENTRIES:
        raise Unusable(
            "", _("More than %(most)d files.") % {"most": MAX_ENTRIES}, _("Leave out what the app does not need.")
        )
    if sum(entry.file_size for entry in entries) > MAX_UNPACKED_BYTES:
        raise Unusable(
            "",
            _("The package unpacks to more than %(most)d MB.") % {"most": MAX_UNPACKED_BYTES // 2**20},
            _("Leave out what the app does not need."),
        )
    seen = set()
    for entry in entries:
        # As it stands in the archive: zipfile ends a name at a NUL and turns backslashes.
        name = entry.orig_filename
        if name.startswith("/") or re.search(r"\\|^[A-Za-z]:|[\0-\x1f\x7f]", name) or ".." in name.split("/"):
            raise Unusable(
                _shown(name), _("This path could lead out of the package."), _("Use plain relative paths with “/”.")
            )
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Unusable(_shown(name), _("This is a symbolic link."), _("Put the file itself into the package."))
        if entry.flag_bits & 1:
            raise Unusable(_shown(name), _("This file is encrypted."), _("Pack the app without a password."))
        if name in seen:
            raise Unusable(_shown(name), _("This file is in the package twice."), _("Keep one of them."))
        seen.add(name)
    return [entry for entry in entries if not entry.is_dir() and not entry.filename.startswith("__MACOSX/")]


def _shown(name: str) -> str:
    return name.encode("unicode_escape").decode()[:200]


def _wanted(entries: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    """By their names in the package; an archive may hold it all in one folder."""
    by_name = {entry.filename: entry for entry in entries}
    tops = {name.partition("/")[0] for name in by_name}
    prefix = f"{tops.pop()}/" if MANIFEST not in by_name and len(tops) == 1 else ""
    return {file: by_name[prefix + file] for file in FILES if prefix + file in by_name}


def _take(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise Unusable(
            _shown(entry.filename), _("Packed in a way that is not read here."), _("Use the ordinary .zip compression.")
        )
    with archive.open(entry) as file:
        # One byte more than is allowed: the reader of the file says that it is too large.
        return file.read(MAX_BYTES + 1)


def read_folder(folder: Path) -> dict[str, bytes]:
    """Return the files of FILES that a folder has. Raises Unusable."""
    found = {}
    for file in FILES:
        path = folder / file
        if path.is_symlink() or path.parent.is_symlink() and path.parent != folder:
            raise Unusable(file, _("This is a symbolic link."), _("Put the file itself into the package."))
        if path.is_file():
            with open(path, "rb") as opened:
                found[file] = opened.read(MAX_BYTES + 1)
    return found
