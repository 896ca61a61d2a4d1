"""Just trying, on pages of the apps below and above. The credentials app is below consent and cannot import it."""

from typing import Any

from django import template

from credentials.models import Client
from credentials.trying import call_scope
from portal.accounts.choosing import pick_team
from portal.accounts.rights import teams_run_by

register = template.Library()


@register.inclusion_tag("consent/_just_trying.html", takes_context=True)
def just_trying(context: Any) -> dict[str, Any]:
    """Offer to try the flow to who can agree on a test account: an owner of its team."""
    request = context["request"]
    teams, scope = teams_run_by(request.user).order_by("pk"), call_scope()
    team = (pick_team(request, teams) or teams.first()) if scope else None
    client = Client.objects.filter(team=team, is_for_trying=True).first() if team else None
    return {"request": request, "team": team, "client": client, "scope": scope}
