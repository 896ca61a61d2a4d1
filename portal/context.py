from django.urls import reverse
from django.utils.translation import gettext as _

from portal.accounts.models import Membership, TeamMembership


def chrome(request):
    """The navigation, by what the person is."""
    user = getattr(request, "user", None)
    if user is None or not user.is_authenticated:
        return {}
    member = Membership.objects.live().filter(user=user).exists()
    developer = TeamMembership.objects.filter(user=user, ended_at=None).exists()
    pages = [
        (True, _("Marketplace"), "listing-list"),
        (member, _("Apps"), "installation-list"),
        (member, _("My authorizations"), "authorization-list"),
        (developer, _("OAuth credentials"), "client-list"),
        (developer, _("My apps"), "app-list"),
        (True, _("Ledger"), "ledger-list"),
        (user.is_staff, _("Staff"), "admin:index"),
    ]
    items = [{"label": label, "url": reverse(name)} for shown, label, name in pages if shown]
    for item in items:
        item["current"] = request.path.startswith(item["url"])
    return {"chrome": {"items": items, "path": request.path}}
