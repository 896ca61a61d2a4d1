"""Who belongs to an account or a team, what those who run it may do about that, invitations, and which mail people get."""

from typing import Any
from uuid import UUID

from allauth.account.stages import EmailVerificationStage, LoginStageController
from allauth.account.views import ConfirmEmailView as AllauthConfirmEmailView
from allauth.account.views import PasswordResetView as AllauthPasswordResetView
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.accounts.models import User
from portal.accounts.requests import SignedInRequest
from portal.foundation.limits.address import address_of
from portal.foundation.limits.rates import spend
from portal.foundation.once import once
from portal.foundation.pages import paginate
from portal.foundation.refusals import Refused, add_errors

from .actions import inviting, memberships, people, profiles, teams
from .actions.inviting import hash_of, is_for
from .choosing import REMEMBERED, Choice, pick_team
from .forms import InvitationForm, MailForm, PublisherForm, RoleForm
from .models import Account, Invitation, Membership, Role, TeamLogo, TeamMembership, TeamRole
from .rights import accounts_run_by, is_reviewer, only_runner, teams_run_by
from .seen import accounts_seen_by, team_memberships_of, teams_seen_by


class PasswordResetView(AllauthPasswordResetView):
    """Say that a mail is on its way; allauth's own view would go straight to `next`."""

    http_method_names = ["get", "head", "post"]

    def get_success_url(self) -> str:
        return reverse("account_reset_password_done")


class ConfirmEmailView(AllauthConfirmEmailView):
    """Where the mail's link leads. Opening it changes nothing, since mail scanners open links; its button confirms.

    In the browser that signed up the button signs in too.
    """

    http_method_names = ["get", "head", "post"]

    def logout_other_user(self, confirmation: Any) -> None:
        if self.request.method == "POST":
            super().logout_other_user(confirmation)

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        stage = LoginStageController.enter(self.request, EmailVerificationStage.key)
        waiting = stage.login.user if stage and not self.request.user.is_authenticated else None
        signs_in = bool(waiting and self.object and waiting.pk == self.object.email_address.user_id)
        return {**super().get_context_data(**kwargs), "signs_in": signs_in}


@require_safe
def switch(request: SignedInRequest) -> HttpResponse:
    """List the accounts and teams of a person; each leads to its lists, and is remembered from there on."""
    accounts = Choice(request, accounts_seen_by(request.user))
    teams = Choice(request, teams_seen_by(request.user), keys=("name",))
    many = [each for each in (accounts, teams) if each.are_many]
    nothing = next((each for each in many if each.words and not (accounts.shown or teams.shown)), None)
    context = {
        "accounts": accounts,
        "teams": teams,
        "many": many,
        "found": next((each for each in many if each.has_more), nothing),
        "current": request.session.get(REMEMBERED),
        "current_team": pick_team(request, teams_seen_by(request.user)),
    }
    return render(request, "members/switch.html", context)


@require_http_methods(["GET", "POST"])
def mail_settings(request: SignedInRequest) -> HttpResponse:
    form = MailForm(
        request.user, request.POST if request.method == "POST" else None, is_reviewer=is_reviewer(request.user)
    )
    if request.method == "POST" and form.is_valid():
        people.choose_mail(request.user, form.cleaned_data)
        messages.success(request, _("Saved."))
        return redirect("mail-settings")
    return render(request, "members/mail_settings.html", {"form": form})


def organisation_url(organisation: Any) -> str:
    """Where an account or a team shows who belongs to it."""
    if isinstance(organisation, Account):
        return reverse("member-list", args=[organisation.slug])
    return reverse("team-view", args=[organisation.public_id])


def _organisation_view(request: SignedInRequest, organisation: Any, *, is_run: Any) -> HttpResponse:
    """The page of an account or a team; those who run it read addresses and invitations too."""
    rows = organisation.memberships.live().select_related("user").order_by("role", "user__name", "user__email", "pk")
    context = {"organisation": organisation, "is_run": is_run, "page_obj": paginate(request, rows)}
    context["alone"] = only_runner(organisation)
    if is_run:
        invitations = organisation.invitations.open().with_state().order_by("email")
        context["invitations"] = paginate(request, invitations, name="invitations")
        for invitation in context["invitations"]:
            invitation.why = invitation.why_over()
    return render(request, "members/organisation_view.html", context)


def _invite(request: SignedInRequest, organisation: Any, roles: Any) -> HttpResponse:
    form = InvitationForm(request.POST or None, roles=roles)
    if request.method == "POST" and form.is_valid():
        email = form.cleaned_data["email"].lower()
        _spend(request, organisation, email)
        try:
            inviting.invite(organisation, email=email, role=form.cleaned_data["role"], by=request.user)
        except Refused as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("Invited. An email is on its way to %(email)s.") % {"email": email})
            return redirect(organisation_url(organisation))
    context = {"form": form, "organisation": organisation, "back_url": organisation_url(organisation)}
    return render(request, "members/invitation_create.html", context, status=422 if form.errors else 200)


def _spend(request: SignedInRequest, organisation: Any, email: str) -> None:
    """Each mail goes to somebody who may not want it."""
    spend(
        ("invitations by person", str(request.user.public_id)),
        ("invitations by organisation and mail address", organisation.chain_name, email),
    )


def _says_why_not(view: Any) -> Any:
    """Have a page that asks say instead that the only one who runs an organisation can neither leave nor change roles."""

    def asked(request: SignedInRequest, member: Membership, organisation: Any, *more: Any) -> HttpResponse:
        if request.method == "GET" and member == only_runner(organisation):
            context = {"member": member, "organisation": organisation, "back_url": organisation_url(organisation)}
            return render(request, "members/member_kept.html", context)
        return view(request, member, organisation, *more)

    return asked


@_says_why_not
def _change_role(request: SignedInRequest, member: Membership, organisation: Any, roles: Any, act: Any) -> HttpResponse:
    """Ask, and on POST give the role that was asked about."""
    other = next(role for role in roles if role != member.role)
    form = RoleForm(request.POST or None, roles=roles.choices, initial={"role": other})
    if request.method == "POST" and form.is_valid():
        _act(request, lambda: act(member, role=form.cleaned_data["role"], by=request.user), _("The role was changed."))
        return _onwards(request, organisation)
    context = {
        "member": member,
        "organisation": organisation,
        "form": form,
        "role": other,
        "back_url": organisation_url(organisation),
    }
    return render(request, "members/member_role.html", context, status=422 if form.errors else 200)


@_says_why_not
def _remove(request: SignedInRequest, member: Membership, organisation: Any, act: Any) -> HttpResponse:
    if request.method == "POST":
        _act(request, lambda: act(member, by=request.user), _("Removed. They can no longer see or do anything here."))
        return _onwards(request, organisation)
    context = {"member": member, "organisation": organisation, "back_url": organisation_url(organisation)}
    return render(request, "members/member_remove.html", context)


def _act(request: SignedInRequest, act: Any, done: Any) -> None:
    try:
        act()
        messages.success(request, done)
    except Refused as refusal:
        messages.error(request, str(refusal))


def _onwards(request: SignedInRequest, organisation: Any) -> HttpResponse:
    """Redirect to the organisation's page, or home if the person has just left it."""
    stays = organisation.memberships.live().filter(user=request.user).exists()
    return redirect(organisation_url(organisation) if stays else settings.LOGIN_REDIRECT_URL)


# --- an account's members ---


@require_safe
def member_list(request: SignedInRequest, slug: str) -> HttpResponse:
    account = get_object_or_404(accounts_seen_by(request.user), slug=slug)
    return _organisation_view(request, account, is_run=accounts_run_by(request.user).filter(pk=account.pk).exists())


@require_http_methods(["GET", "POST"])
@once
def member_invite(request: SignedInRequest, slug: str) -> HttpResponse:
    account = get_object_or_404(accounts_run_by(request.user), slug=slug)
    # A test account's admins are the owners of its team, who are invited there.
    roles = [role for role in Role if role != Role.ADMIN or not account.test_of_team_id]
    return _invite(request, account, [(role.value, role.label) for role in roles])


def _member(request: SignedInRequest, slug: str, pk: UUID) -> Any:
    accounts = accounts_run_by(request.user).filter(slug=slug)
    members = Membership.objects.live().filter(account__in=accounts).select_related("account", "user")
    return get_object_or_404(members, pk=pk)


@require_http_methods(["GET", "POST"])
@once
def member_role(request: SignedInRequest, slug: str, pk: UUID) -> HttpResponse:
    member = _member(request, slug, pk)
    return _change_role(request, member, member.account, Role, memberships.change_role)


@require_http_methods(["GET", "POST"])
@once
def member_remove(request: SignedInRequest, slug: str, pk: UUID) -> HttpResponse:
    member = _member(request, slug, pk)
    return _remove(request, member, member.account, memberships.end_membership)


# --- a team's members ---


@require_safe
def team_list(request: SignedInRequest) -> HttpResponse:
    rows = team_memberships_of(request.user).select_related("team").order_by("team__name", "pk")
    return render(request, "members/team_list.html", {"page_obj": paginate(request, rows)})


@require_safe
def team_view(request: SignedInRequest, public_id: UUID) -> HttpResponse:
    team = get_object_or_404(teams_seen_by(request.user), public_id=public_id)
    return _organisation_view(request, team, is_run=teams_run_by(request.user).filter(pk=team.pk).exists())


@require_http_methods(["GET", "POST"])
@once
def team_profile(request: SignedInRequest, public_id: UUID) -> HttpResponse:
    """What a team shows of itself as a publisher, to change and to have verified."""
    team = get_object_or_404(teams_run_by(request.user), public_id=public_id)
    form = PublisherForm(request.POST or None, request.FILES or None, instance=team)
    if request.method == "POST" and form.is_valid():
        try:
            profiles.change_profile(team, by=request.user, **form.fields_for_action())
            messages.success(request, _("Saved."))
            return redirect("team-profile", team.public_id)
        except (Refused, ValidationError) as error:
            add_errors(form, error)
    context = {"form": form, "team": team, "back_url": organisation_url(team)}
    return render(request, "members/team_profile.html", context, status=422 if form.errors else 200)


@require_POST
@once
def team_verification(request: SignedInRequest, public_id: UUID) -> HttpResponse:
    team = get_object_or_404(teams_run_by(request.user), public_id=public_id)
    asked = _("The portal team has been asked. It will check your profile.")
    _act(request, lambda: profiles.ask_for_verification(team, by=request.user), asked)
    return redirect("team-profile", team.public_id)


@login_not_required
@require_safe
def team_logo(request: HttpRequest, public_id: UUID) -> HttpResponse:
    """A team's logo, which whoever is asked by one of its apps sees."""
    logo = get_object_or_404(TeamLogo, team__public_id=public_id)
    headers = {"Cache-Control": "public, max-age=86400"}
    return HttpResponse(bytes(logo.png), content_type="image/png", headers=headers)


@require_http_methods(["GET", "POST"])
@once
def team_invite(request: SignedInRequest, public_id: UUID) -> HttpResponse:
    return _invite(request, get_object_or_404(teams_run_by(request.user), public_id=public_id), TeamRole.choices)


def _teammate(request: SignedInRequest, public_id: UUID, pk: int) -> Any:
    teams = teams_run_by(request.user).filter(public_id=public_id)
    teammates = TeamMembership.objects.live().filter(team__in=teams).select_related("team", "user")
    return get_object_or_404(teammates, pk=pk)


@require_http_methods(["GET", "POST"])
@once
def teammate_role(request: SignedInRequest, public_id: UUID, pk: int) -> HttpResponse:
    teammate = _teammate(request, public_id, pk)
    return _change_role(request, teammate, teammate.team, TeamRole, teams.change_teammate)


@require_http_methods(["GET", "POST"])
@once
def teammate_remove(request: SignedInRequest, public_id: UUID, pk: int) -> HttpResponse:
    teammate = _teammate(request, public_id, pk)
    return _remove(request, teammate, teammate.team, teams.end_teammate)


# --- invitations ---


def _invitation_run_by(user: User, pk: UUID) -> Any:
    invitations = Invitation.objects.open().run_by(user).select_related("account", "team")
    return get_object_or_404(invitations, pk=pk)


@require_POST
@once
def invitation_resend(request: SignedInRequest, pk: UUID) -> HttpResponse:
    invitation = _invitation_run_by(request.user, pk)
    _spend(request, invitation.organisation, invitation.email)
    _act(
        request,
        lambda: inviting.resend_invitation(invitation, by=request.user),
        _("Invitation resent. The link in the previous email no longer works."),
    )
    return redirect(organisation_url(invitation.organisation))


@require_http_methods(["GET", "POST"])
@once
def invitation_revoke(request: SignedInRequest, pk: UUID) -> HttpResponse:
    invitation = _invitation_run_by(request.user, pk)
    if request.method == "POST":
        _act(
            request,
            lambda: inviting.revoke_invitation(invitation, by=request.user),
            _("Invitation canceled. Its link no longer works."),
        )
        return redirect(organisation_url(invitation.organisation))
    context = {"invitation": invitation, "back_url": organisation_url(invitation.organisation)}
    return render(request, "members/invitation_revoke.html", context)


@login_not_required
@never_cache
@require_safe
def invitation_open(request: HttpRequest, token: str) -> HttpResponse:
    """Take the token off the address, and have this browser's session keep what it is known by."""
    spend(("invitations opened by address", address_of(request.META)))
    opened = hash_of(token)
    if Invitation.objects.filter(token_hash=opened).exists():
        # Of any other, nobody's session need know: strangers would write rows without end.
        request.session["invitation"] = opened
    else:
        request.session.pop("invitation", None)
    return redirect("invitation-accept")


@login_not_required
@never_cache
@require_http_methods(["GET", "POST"])
@once
def invitation_accept(request: HttpRequest) -> HttpResponse:
    """What the last link that was opened here offers, to whoever is signed in or not yet."""
    invitation = Invitation.objects.opened_in(request.session)
    if not invitation:
        return _told(request, None, 404, _("This invitation does not exist. A newer email may have replaced it."))
    if why := invitation.why_over():
        return _told(request, None, 410, why)
    if request.method == "GET" or not request.user.is_authenticated:
        if request.method == "POST":
            return redirect_to_login(request.path)
        is_theirs = request.user.is_authenticated and is_for(invitation, request.user)
        return _told(request, invitation, 200 if is_theirs or not request.user.is_authenticated else 403)
    try:
        inviting.accept_invitation(invitation, by=request.user)
    except inviting.NotInvited:
        return _told(request, invitation, 403)
    except Refused as refusal:
        return _told(request, None, 409, str(refusal))
    del request.session["invitation"]
    messages.success(request, _("Welcome to %(organisation)s.") % {"organisation": invitation.organisation})
    if invitation.account:
        return redirect(f"{reverse(settings.MEMBER_START_URL)}?account={invitation.account.slug}")
    return redirect(organisation_url(invitation.organisation))


def _told(request: HttpRequest, invitation: Invitation | None, status: int, why: str = "") -> HttpResponse:
    context = {"invitation": invitation, "is_wrong_person": status == 403, "why": why}
    return render(request, "members/invitation_accept.html", context, status=status)
