"""Sessions in the database, as Django keeps them, read by a statement that is compiled once."""

from typing import Any

from django.contrib.sessions.backends import db
from django.contrib.sessions.models import Session
from django.db.models import DateTimeField
from django.utils import timezone

from portal.foundation.statements import Parameter, Statement

_DATA = Statement(
    lambda: Session.objects.filter(
        session_key=Parameter("key"), expire_date__gt=Parameter("now", DateTimeField())
    ).values_list("session_data")
)


class SessionStore(db.SessionStore):
    def load(self) -> dict[str, Any]:
        """Return the session's data; of an unknown or expired one none, and forget its key."""
        found = _DATA.row(key=self.session_key, now=timezone.now())
        if found is None:
            self._session_key = None
            return {}
        return self.decode(found[0])
