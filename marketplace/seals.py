"""Seals of what a team reads before it submits or publishes: pressing the button means that, and nothing newer."""

import hashlib
import json

from django.core.serializers.json import DjangoJSONEncoder

from portal.foundation.seals import seal

from .models import App, Version


def seal_of(version: Version) -> str:
    """Seal a version as its page shows it."""
    shown = {field.attname: getattr(version, field.attname) for field in Version._meta.concrete_fields}
    shown["icon"] = hashlib.sha256(version.icon or b"").hexdigest()
    return seal("version", [json.dumps(shown, cls=DjangoJSONEncoder, sort_keys=True)])


def seal_with_accounts(app: App, version: Version | None = None) -> str:
    """Seal the accounts that an app lists, and the version that would be published for them."""
    return seal("accounts", [app.pk, sorted(app.custom_accounts), seal_of(version) if version else ""])
