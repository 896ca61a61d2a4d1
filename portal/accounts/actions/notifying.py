"""Mail a team's developers and the reviewers about submissions, decisions and suspensions."""

from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from portal.foundation.mail import Mail, mail_once

from ..models import Notice, Team
from ..rights import reviewers

# A bound, so that a team that keeps submitting and taking back fills no mailbox; the reviewers' queue shows the rest.
MAX_TO_REVIEWERS = 20  # a day, about one team


def put_notices(team: Team, kind: str, *, name: str, path: str, reviewers_path: str, reason: str = "") -> None:
    """Store a mail to the team's developers and one to the reviewers; the sweep sends them after this commits (T3)."""
    given = {"team": team, "kind": kind, "name": name, "reason": reason}
    Notice.objects.create(to_reviewers=False, path=path, **given)
    Notice.objects.create(to_reviewers=True, path=reviewers_path, **given)


def _addresses(notice: Notice) -> list[str]:
    developers = notice.team.memberships.live()
    if not notice.to_reviewers:
        return list(developers.values_list("user__email", flat=True))
    return list(reviewers().exclude(pk__in=developers.values("user")).values_list("email", flat=True))


def tell_of_notice(notice: Notice) -> None:
    """Mail a notice, once."""
    rows = Notice.objects.select_related("team").filter(pk=notice.pk, told_at=None)
    mail_once(f"notice:{notice.pk}", rows, _mail)


def _mail(rows: list[Notice]) -> Mail:
    (notice,) = rows
    today = Notice.objects.filter(team=notice.team, to_reviewers=True, told_at__gt=Now() - timedelta(days=1))
    is_too_many = notice.to_reviewers and today.count() >= MAX_TO_REVIEWERS
    return Mail("members/mail/notice.txt", [] if is_too_many else _addresses(notice), {"notice": notice})


def notices_to_mail() -> QuerySet[Notice]:
    return Notice.objects.filter(told_at=None).order_by("made_at", "pk")
