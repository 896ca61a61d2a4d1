"""Mail a team's developers and the reviewers about submissions, decisions and suspensions."""

from datetime import timedelta

from django.db.models import QuerySet
from django.db.models.functions import Now

from portal.foundation.broker import queue_on_commit
from portal.foundation.mail import Mail, mail_once
from portal.foundation.models import MailKind

from ..models import Notice, NoticeKind, Team, User
from ..rights import reviewers

# A bound, so that a team that keeps submitting and taking back fills no mailbox; the reviewers' queue shows the rest.
MAX_TO_REVIEWERS = 20  # a day, about one team


def put_notices(team: Team, kind: str, *, name: str, path: str, reviewers_path: str, reason: str = "") -> None:
    """Store a mail to the team's developers and one to the reviewers; workers write the mails once this commits (T3)."""
    given = {"team": team, "kind": kind, "name": name, "reason": reason}
    for to_reviewers, where in ((False, path), (True, reviewers_path)):
        notice = Notice.objects.create(to_reviewers=to_reviewers, path=where, **given)
        queue_on_commit("portal.accounts.tasks.tell_of_notice", notice.pk)


def _people(notice: Notice) -> QuerySet[User]:
    developers = notice.team.memberships.live().values("user")
    if not notice.to_reviewers:
        return User.objects.filter(pk__in=developers)
    return reviewers().exclude(pk__in=developers)


def _kind(notice: Notice) -> MailKind:
    if NoticeKind(notice.kind).is_about_suspension:
        return MailKind.SECURITY
    return MailKind.REVIEWS if notice.to_reviewers else MailKind.DECISIONS


def tell_of_notice(notice: Notice) -> None:
    """Mail a notice, once."""
    rows = Notice.objects.select_related("team").filter(pk=notice.pk, told_at=None)
    mail_once(f"notice:{notice.pk}", rows, _mail)


def _mail(rows: list[Notice]) -> Mail:
    (notice,) = rows
    today = Notice.objects.filter(team=notice.team, to_reviewers=True, told_at__gt=Now() - timedelta(days=1))
    is_too_many = notice.to_reviewers and today.count() >= MAX_TO_REVIEWERS
    return Mail(_kind(notice), "members/mail/notice.txt", [] if is_too_many else _people(notice), {"notice": notice})


def notices_to_mail() -> QuerySet[Notice]:
    return Notice.objects.filter(told_at=None).order_by("made_at", "pk")
