"""Show a team the log of what its client was refused."""

from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from credentials.seen import clients_seen_by
from portal.accounts.requests import SignedInRequest
from portal.foundation.pages import paginate

from ..models import Failure, Why
from ..validity import agreement_days

FIXES = {
    Why.EXPIRED: _(
        "Access tokens last 30 minutes, codes 60 seconds. Refresh the token or exchange the code before then."
    ),
    Why.AGREEMENT_EXPIRED: format_lazy(
        _("An agreement lasts {days} days. Send the person to your authorize URL to agree again."),
        days=agreement_days(),
    ),
    Why.REVOKED: _("Delete these tokens. Anyone who wants the app back can agree again at your authorize URL."),
    Why.REPLACED: _("Use the tokens of the newer agreement, or send the person to your authorize URL for new ones."),
    Why.UNINSTALLED: _("Delete these tokens. A new installation issues new ones."),
    Why.LEFT: _("Delete these tokens. Anyone who comes back to the account must agree again."),
    Why.TAKEN_BACK: _(
        "Work without this scope, or ask for it again: send the person to your authorize URL with prompt=consent."
    ),
    Why.SUSPENDED: _("Nothing works until the portal team lifts the suspension. The same tokens then work again."),
    Why.REPLAYED: _(
        "A refresh token or code works only once. Keep the newest refresh token, and let only one process refresh."
    ),
    Why.GIVEN_BACK: _("Your app revoked its token. Send the person to your authorize URL for new tokens."),
    Why.LEAKED: _("Earlier codes and tokens stay invalid. Send people to your authorize URL for new tokens."),
    Why.UNKNOWN: _(
        "Send the code or refresh token exactly as you received it, with the verifier and redirect URL of its authorization request."
    ),
    Why.SCOPE: _(
        "Ask for this scope in your authorization request. These credentials and the app’s version must have it too."
    ),
    Why.NOT_OPEN: _("Call only routes that the product opens to OAuth clients."),
    Why.NO_CONSENT: _(
        "Check the account and the installation in your request. An admin there must install or authorize the app first."
    ),
    Why.SECRET: _(
        "Check the secret that your app stores. If the attempt was not yours, someone else tried and got nothing."
    ),
    Why.REQUEST: _("Correct the parameter named here or in the response’s error_description."),
}


@require_safe
def failure_list(request: SignedInRequest, client_id: str) -> HttpResponse:
    client = get_object_or_404(clients_seen_by(request.user), client_id=client_id)
    failures = Failure.objects.filter(client=client).select_related("account")
    why, account = (request.GET.get(name, "").strip() for name in ("why", "account"))
    if why in Why.values:
        failures = failures.filter(why=why)
    if account:
        failures = failures.filter(account__slug=account)
    page = paginate(request, failures)
    for failure in page:
        failure.fix = FIXES[failure.why]
    context = {"client": client, "page_obj": page, "reasons": Why.choices, "chosen": {"why": why, "account": account}}
    return render(request, "consent/failure_list.html", context)
