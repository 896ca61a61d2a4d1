"""Remember what somebody just agreed to on the portal's own pages, before the app sends them through authorization.

The app then gets its code without asking them a second time, and its page here says what they did.
"""

import datetime as dt
import time
from typing import cast

from django.contrib import messages
from django.db.models.functions import Now
from django.http import HttpRequest

from consent.models import Access
from portal.accounts.models import User

from .models import Consent
from .receipts import with_receipt

_SAID, _AGREED = "agreed_said", "agreed_to"
# In seconds: how long the way through the app may take, and how long the app's page mentions the agreement.
RECENT, TOLD = dt.timedelta(minutes=10), 3600


def remember_agreed(request: HttpRequest, consent: Consent, said: object) -> None:
    row = {"access": str(consent.access_id), "consent": str(consent.pk)}
    request.session[_AGREED] = {**row, "revision": consent.revision}
    request.session[_SAID] = {**row, "said": str(said), "at": time.time()}


def take_agreed(request: HttpRequest, consent: Consent | None) -> bool:
    """Tell, only once, whether this person just agreed to this consent on the portal's own pages and it has not changed."""
    agreed = request.session.get(_AGREED)
    if not agreed or consent is None:
        return False
    if (agreed["consent"], agreed["revision"]) != (str(consent.pk), consent.revision):
        return False
    del request.session[_AGREED]
    recent = Consent.objects.filter(pk=consent.pk, granted_by=cast(User, request.user), granted_at__gt=Now() - RECENT)
    return recent.exists()


def tell_agreed(request: HttpRequest, access: Access | None) -> None:
    """Say on the app's page what was agreed to, but never on a page that asks for more."""
    said = request.session.get(_SAID)
    if not access or not said or said["access"] != str(access.pk):
        return
    del request.session[_SAID]
    if time.time() - said["at"] < TOLD and (consent := Consent.objects.filter(pk=said["consent"]).first()):
        messages.success(request, with_receipt(said["said"], consent))
