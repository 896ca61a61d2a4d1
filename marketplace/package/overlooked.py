"""Find files that look like part of a package but are not read, and say what to do with each."""

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import PurePosixPath

from django.utils.translation import gettext as _

IPARAMS = "config/iparams.json"
FILES = ("manifest.json", "config/oauth_config.json", "config/requests.json", IPARAMS)
# Files of the platform that the portal does not use.
_OF_THE_PLATFORM = re.compile(
    r"config/(iparam_test_data\.json|entities\.json|assets/.*)|(.*/)?(\.DS_Store|\.gitkeep|Thumbs\.db)"
)
_ARCHIVE = re.compile(r".+\.(zip|tar|tgz|gz|rar|7z)", re.IGNORECASE)
# Other names for the files: without extension or punctuation, in lower case.
_CALLED = {
    "manifest": "manifest.json",
    "oauthconfig": "config/oauth_config.json",
    "oauthconfigs": "config/oauth_config.json",
    "oauthconfiguration": "config/oauth_config.json",
    "oauth": "config/oauth_config.json",
    "oauth2": "config/oauth_config.json",
    "requests": "config/requests.json",
    "request": "config/requests.json",
    "requesttemplates": "config/requests.json",
    "requesttemplate": "config/requests.json",
    "iparams": IPARAMS,
    "iparam": IPARAMS,
    "installationparameters": IPARAMS,
}
_COMPARED = 50

Overlooked = tuple[str, str, str]


def overlooked(names: Iterable[str], read: Collection[str]) -> Iterator[Overlooked]:
    """Yield each of the `names` that was not `read` but looks as if it should be, what is wrong and what to do."""
    left = _COMPARED
    for name in names:
        path = PurePosixPath(name)
        if "node_modules" in path.parts or _OF_THE_PLATFORM.fullmatch(name):
            continue
        if _ARCHIVE.fullmatch(path.name):
            yield (
                name,
                _("The portal does not read archives inside the package."),
                _("If this archive is the app, upload it instead. Otherwise, leave it out."),
            )
            continue
        in_config = len(path.parts) == 2 and path.parts[0].lower() in ("config", "configs")
        left -= in_config
        meant = _meant(path, guess=in_config and left >= 0)
        if meant == IPARAMS and path.suffix.lower() in (".html", ".htm"):
            yield (
                name,
                _("The portal does not show an app’s own installation page. It reads %(file)s instead.")
                % {"file": meant},
                _("List its fields in %(file)s, each with a display_name and a type. The portal creates the page.")
                % {"file": meant},
            )
        # If the file itself is present, one of the same name deeper in the app, such as a web manifest, is something else.
        elif meant and meant not in read and (in_config or path.suffix.lower().startswith(".json")):
            yield (
                name,
                _("This file is not read. The portal reads %(file)s instead.") % {"file": meant},
                _("Rename or move it to %(file)s.") % {"file": meant},
            )
        elif meant and in_config:
            yield (
                name,
                _("This file is not read. The portal reads %(file)s instead.") % {"file": meant},
                _("Move anything that is missing into %(file)s, then remove this file.") % {"file": meant},
            )
        elif in_config:
            yield (
                name,
                _("This file is not read. In config/, the portal reads only %(files)s.")
                % {"files": ", ".join(file.removeprefix("config/") for file in FILES[1:])},
                _("Move what the portal needs into one of them, or leave this file as it is."),
            )


def _meant(path: PurePosixPath, *, guess: bool) -> str | None:
    """Return the file that a name means despite its spelling, letter case or folder; `guess` also accepts similar names."""
    plain = re.sub(r"[^a-z0-9]", "", path.name.partition(".")[0].lower())
    if found := _CALLED.get(plain):
        return found
    near = difflib.get_close_matches(plain[:60], _CALLED, n=1, cutoff=0.8) if guess else []
    return _CALLED[near[0]] if near else None


def manifest_elsewhere(names: Iterable[str]) -> str | None:
    """Return the file that is the manifest in another place or spelling, or the archive that may contain it."""
    found = [name for name in names if "node_modules" not in name]
    for test in (
        lambda name: PurePosixPath(name).name.lower() == "manifest.json",
        lambda name: _ARCHIVE.fullmatch(name),
    ):
        if here := sorted(filter(test, found), key=lambda name: (name.count("/"), name)):
            return here[0]
    return None
