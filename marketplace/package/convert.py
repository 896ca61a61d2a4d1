"""Convert a 2.x package to 3.x, and remember which old pointer each new one came from."""

import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from django.utils.translation import gettext as _

from .archive import MANIFEST, OAUTH, REQUESTS
from .documents import as_dict, as_str, step

# The module for a product's main page; developers name the others.
_MODULES = {
    "freshdesk": "support_ticket",
    "freshservice": "service_ticket",
    "freshsales": "deal",
    "freshworks_crm": "deal",
    "freshchat": "chat_conversation",
    "freshcaller": "caller_agent",
}
_COMMON = ("requests", "functions", "events")
ENGINES = {"node": "18.20.8", "fdk": "9.4.0"}


class Converted:
    """A package's files in the 3.x format, the `changes` in words, and `old(file, pointer)`, the pointer in the old file."""

    def __init__(self, files: dict[str, Any]) -> None:
        self.files = deepcopy(files)
        self.changes: list[str] = []
        self._origins: dict[str, Callable[[str], str]] = {}
        self.integration = ""
        self._oauth()
        self._requests()
        self._manifest()

    def old(self, file: str, pointer: str) -> str:
        return self._origins.get(file, str)(pointer)

    def _oauth(self) -> None:
        flat = self.files.get(OAUTH)
        if not isinstance(flat, dict) or "integrations" in flat:
            return
        name = self.integration = _name_for(flat.get("authorize_url"))
        self.files[OAUTH] = {"integrations": {name: {"display_name": name.replace("_", " ").capitalize(), **flat}}}
        base = step("/integrations", name)
        self._origins[OAUTH] = lambda pointer: pointer.removeprefix(base) if pointer.startswith(base) else ""
        self.changes.append(
            _("%(file)s: all content was moved into the integration “%(name)s”, with a display name.")
            % {"file": OAUTH, "name": name}
        )

    def _requests(self) -> None:
        requests = self.files.get(REQUESTS)
        if not isinstance(requests, dict):
            return
        for name, request in requests.items():
            options = as_dict(as_dict(request).get("options"))
            if not isinstance(options.get("isOAuth"), bool):
                continue
            if options.pop("isOAuth"):
                options["oauth"] = self.integration or "oauth"
                self.changes.append(
                    _("%(file)s: in “%(name)s”, “isOAuth” became “oauth”: “%(oauth)s”.")
                    % {"file": REQUESTS, "name": name, "oauth": options["oauth"]}
                )
        self._origins[REQUESTS] = lambda pointer: re.sub(r"/options/oauth$", "/options/isOAuth", pointer)

    def _manifest(self) -> None:
        old = self.files.get(MANIFEST)
        if not isinstance(old, dict) or not isinstance(old.get("product"), dict):
            return
        products = {name: as_dict(inside) for name, inside in old.pop("product").items()}
        common: dict[str, Any] = {}
        modules: dict[str, Any] = {"common": common}
        # The products that had each member of common, and each module.
        origins: dict[tuple[str, ...], str] = {}
        for name, inside in products.items():
            module = _MODULES.get(name, name)
            origins.setdefault((module,), name)
            for key in _COMMON:
                if isinstance(found := inside.get(key), dict):
                    common.setdefault(key, {}).update(found)
                    for each in found:
                        origins.setdefault((key, each), name)
            rest = {key: value for key, value in inside.items() if key not in _COMMON}
            modules.setdefault(module, {}).update(rest)
            self.changes.append(
                _("%(file)s: the product “%(product)s” became the module “%(module)s”.")
                % {"file": MANIFEST, "product": name, "module": module}
            )
        listed = common.get("requests", {})
        if missing := [name for name in as_dict(self.files.get(REQUESTS)) if name not in listed]:
            common["requests"] = {**listed, **{name: {} for name in missing}}
            self.changes.append(_("%(file)s: the request templates were declared.") % {"file": MANIFEST})
        self.files[MANIFEST] = {
            **old,
            "platform-version": "3.0",
            "modules": modules,
            "engines": old.get("engines") or ENGINES,
        }
        if "engines" not in old:
            self.changes.append(_("%(file)s: “engines” was added.") % {"file": MANIFEST})
        first = next(iter(products), "")

        def origin(pointer: str) -> str:
            _empty, top, module, *rest = [*pointer.split("/"), "", ""]
            rest = rest[:-2]
            if top != "modules":
                return pointer
            if module == "common" and rest and rest[0] in _COMMON:
                product = origins.get((rest[0], _unstep(rest[1]) if len(rest) > 1 else ""), first)
            else:
                product = origins.get((_unstep(module),), "")
            return "/".join([step("/product", product), *rest]) if product else "/product"

        self._origins[MANIFEST] = origin


def _unstep(key: str) -> str:
    return key.replace("~1", "/").replace("~0", "~")


def _name_for(url: Any) -> str:
    """Return a name for the one integration of a 2.x package, from the vendor's domain if it can be read."""
    domain = re.match(
        r"https?://(?:[^/?#]*\.)?([a-z][a-z0-9-]{0,39})\.[a-z]{2,}(?:[:/?#]|$)", as_str(url), re.IGNORECASE
    )
    return domain[1].lower().replace("-", "_") if domain else "oauth"
