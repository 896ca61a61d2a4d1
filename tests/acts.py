"""Each action: who may do it, when it cannot be done, and what a second call does. Read by tests/test_every_action.py."""

from collections.abc import Callable
from dataclasses import dataclass

from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError

from consent.actions import ending, granting, issuing, succeeding
from consent.actions.ending import NotYours
from consent.actions.issuing import InvalidGrant
from consent.asking import MayNotConsent, NotInstalled
from consent.reasons import AccessEnd
from consent.screen import build_screen
from consent.succession import statement_of
from credentials import actions as credentials
from credentials import trying
from credentials.models import Product
from marketplace.actions import installing, packaging, picturing, publishing, upgrading
from marketplace.vendors import actions as connecting
from marketplace.vendors.oauth_client import VendorError
from marketplace.vendors.secrets import keep_vendor_secret
from portal.accounts.actions import accounts, inviting, memberships, people, profiles, teams
from portal.accounts.rights import NotAnAdmin, NotAnInviter, NotAReviewer, NotATeammate, NotStaff
from portal.foundation.database import database_now
from portal.foundation.refusals import Refused
from portal.foundation.seals import ScreenIsStale
from tests import factories
from tests.factories import CREATE, VIEW, version_fields
from tests.marketplace import packages
from tests.marketplace.connected import code_of_vendor, installed_with_vendors

# What a second call does if it is not refused.
ANOTHER, NOTHING_MORE = "makes another", "changes nothing more"
# Why an action has no wrong state.
ALWAYS = "there is no state in which it cannot be done"


class World:
    """Versions in each state and their installations, made on demand."""

    def __init__(self, cast):
        self.cast = cast
        self.people = {**vars(cast), "reviewer": factories.reviewer()}
        self.people["superuser"] = factories.person("Sue", team=False, is_staff=True, is_superuser=True)
        self.people["staff"] = factories.person("Stan", team=False, is_staff=True)
        self.team = factories.team_of(cast.dev)
        self._made = {}

    def __getattr__(self, name):
        if name.startswith(("_", "make_")) or name == "vendors":
            raise AttributeError(name)
        self._made[name] = self._made.get(name) or getattr(self, f"make_{name}")()
        return self._made[name]

    def make_asking_team(self):
        return profiles.change_profile(self.team, by=self.cast.dev, website="https://acorn.example")

    def make_asked_team(self):
        return profiles.ask_for_verification(self.asking_team, by=self.cast.dev)

    def make_client(self):
        return factories.client(self.cast.dev, scopes=[VIEW])[0]

    def make_draft(self):
        return factories.app(self.cast.dev, self.client)

    def make_with_icon(self):
        return factories.publish(factories.app(self.cast.dev, self.client, icon=b"icon"), self.cast.dev)

    def make_review(self):
        return publishing.submit_version(self.draft, by=self.cast.dev)

    def make_taken_back(self):
        return publishing.take_back_version(self.review, by=self.cast.dev)

    def make_approved(self):
        return publishing.approve_version(self.review, by=self.people["reviewer"])

    def make_published(self):
        return publishing.publish_version(self.approved, by=self.cast.dev)

    def make_custom(self):
        return publishing.publish_custom(self.draft, accounts={self.cast.acme.slug}, by=self.cast.dev)

    def make_installation(self):
        return installing.install(self.published.app, self.cast.acme, by=self.cast.admin)

    def make_next_version(self):
        """A version that asks for nothing new, after the one before is installed and agreed to."""
        assert self.consent
        draft = publishing.create_version(self.published.app, by=self.cast.dev, **version_fields("1.1"))
        return factories.publish(draft, self.cast.dev, by=self.people["reviewer"])

    def make_by_agents(self):
        """An agent-level app that two agents authorized."""
        client, _secret = factories.client(self.cast.dev, level="agent")
        draft = factories.app(self.cast.dev, client, install_url="https://app.example/install")
        publishing.publish_custom(draft, accounts={self.cast.acme.slug}, by=self.cast.dev)
        made = installing.install(draft.app, self.cast.acme, by=self.cast.admin)
        for agent in (self.cast.agent, self.cast.agent2):
            factories.agree(client, self.cast.acme, agent)
        return made

    def make_access(self):
        return self.installation.access

    def make_consent(self):
        return factories.agree(self.client, self.cast.acme, self.cast.admin) if self.installation else None

    def make_leaderless(self):
        """An account-level consent whose admin has left."""
        made, successor = self.consent, factories.member(self.cast.acme, "admin", "Abe")
        memberships.change_role(self.cast.acme.memberships.get(user=self.cast.admin), role="agent", by=successor)
        self.people["successor"] = successor
        return made

    def make_package(self):
        return packages.as_zip(packages.good(self.client, scope=VIEW))

    def make_multi(self):
        return installed_with_vendors(self.cast, self.vendors)

    def make_code(self):
        return code_of_vendor(self.multi, "calendar", {"room": "4"})

    def make_connection(self):
        return connecting.finish_connection(self.multi.installation, "calendar", by=self.cast.admin, **self.code)

    def make_old_secret(self):
        old = self.client.secrets.get()
        credentials.rotate_secret(self.client, overlap_hours=24, by=self.cast.dev)
        return old

    def make_membership(self):
        return self.cast.acme.memberships.get(user=self.cast.agent)

    def make_teammate(self):
        return teams.add_teammate(self.team, self.person, role="owner", by=self.cast.dev)

    def make_invitation(self):
        return factories.invited(self.cast.acme, self.cast.other_dev.email, by=self.cast.admin)[0]

    def make_person(self):
        return factories.person("New", team=False)

    def make_bare(self):
        return publishing.create_app(self.team, slug="bare", by=self.cast.dev)

    def make_locked_person(self):
        TOTP.activate(self.cast.agent, generate_totp_secret())
        return self.cast.agent

    def make_suspended(self):
        return credentials.suspend_client(self.client, reason="Harmful", by=self.people["reviewer"])

    def make_closed(self):
        return accounts.suspend_account(self.cast.acme, reason="Unpaid", by=None)

    def make_digest(self):
        screen = build_screen(self.installation.access.client, self.cast.acme, by=self.cast.admin, now=database_now())
        return screen.digest()


@dataclass
class Act:
    """An action: who may do it, who may not and how they are refused, when it cannot be done, and what a second call does."""

    call: Callable
    needs: str
    by: str
    refused: type[Exception]
    others: str
    spoil: Callable | str
    wrong: type[Exception] | None
    again: type[Exception] | str


def _suspend(w):
    return w.suspended


def _take_down(w):
    picturing.take_down_picture(
        w.with_icon, picture=picturing.key_of(w.with_icon.app, b"icon"), reason="Why", by=w.people["reviewer"]
    )


def _uninstall(w):
    installing.uninstall(w.installation, by=w.cast.admin)


def _leave(w):
    memberships.end_membership(w.membership, by=None)


DEVELOPERS = {"by": "dev", "refused": NotATeammate, "others": "other_dev admin agent reviewer superuser"}
STAFF = {"by": "superuser", "refused": NotStaff, "others": "staff reviewer dev admin agent"}
ADMINS = {"by": "admin", "refused": NotStaff, "others": "globex_admin agent dev staff reviewer"}
REVIEWERS = {"by": "reviewer", "refused": NotAReviewer, "others": "dev admin staff superuser"}
INSTALLERS = {"by": "admin", "refused": NotAnAdmin, "others": "globex_admin agent dev staff superuser reviewer"}

ACTIONS = {
    # people, accounts and teams
    "create_account": Act(
        lambda w, by: accounts.create_account(slug="new", name="New", by=by), "", **STAFF,
        spoil=lambda w: accounts.create_account(slug="new", name="Other", by=None), wrong=ValidationError, again=ValidationError,
    ),
    "add_member": Act(
        lambda w, by: memberships.add_member(w.cast.acme, w.person, role="agent", by=by), "person", **ADMINS,
        spoil=lambda w: memberships.add_member(w.cast.acme, w.person, role="admin", by=None), wrong=memberships.AlreadyMember,
        again=memberships.AlreadyMember,
    ),
    "change_role": Act(
        lambda w, by: memberships.change_role(w.membership, role="admin", by=by), "membership", **ADMINS,
        spoil=_leave, wrong=memberships.HasLeft, again=NOTHING_MORE,
    ),
    "end_membership": Act(
        lambda w, by: memberships.end_membership(w.membership, by=by), "membership", **ADMINS,
        spoil=_leave, wrong=memberships.HasLeft, again=memberships.HasLeft,
    ),
    "suspend_account": Act(
        lambda w, by: accounts.suspend_account(w.cast.acme, reason="Why", by=by), "", **STAFF,
        spoil=lambda w: w.closed, wrong=accounts.AlreadySuspended, again=accounts.AlreadySuspended,
    ),
    "lift_account": Act(
        lambda w, by: accounts.lift_account(w.cast.acme, reason="Why", by=by), "closed", **STAFF,
        spoil=lambda w: accounts.lift_account(w.cast.acme, reason="Why", by=None), wrong=accounts.NotSuspended, again=accounts.NotSuspended,
    ),
    "create_team": Act(
        lambda w, by: teams.create_team(by=by), "", by="agent", refused=None, others="", spoil=ALWAYS, wrong=None, again=ANOTHER
    ),
    "add_teammate": Act(
        lambda w, by: teams.add_teammate(w.team, w.person, role="member", by=by), "person",
        by="dev", refused=NotStaff, others="other_dev admin agent staff reviewer",
        spoil=lambda w: teams.add_teammate(w.team, w.person, role="owner", by=None), wrong=memberships.AlreadyMember,
        again=memberships.AlreadyMember,
    ),
    "change_teammate": Act(
        lambda w, by: teams.change_teammate(w.teammate, role="member", by=by), "teammate",
        by="dev", refused=NotStaff, others="other_dev admin agent staff reviewer",
        spoil=lambda w: teams.end_teammate(w.teammate, by=w.cast.dev), wrong=memberships.HasLeft, again=NOTHING_MORE,
    ),
    "end_teammate": Act(
        lambda w, by: teams.end_teammate(w.teammate, by=by), "teammate",
        by="dev", refused=NotStaff, others="other_dev admin agent staff reviewer",
        spoil=lambda w: teams.end_teammate(w.teammate, by=w.cast.dev), wrong=memberships.HasLeft, again=memberships.HasLeft,
    ),
    "invite": Act(
        lambda w, by: inviting.invite(w.cast.acme, email="nia@example.com", role="agent", by=by), "",
        by="admin", refused=NotAnInviter, others="globex_admin agent dev staff reviewer superuser",
        spoil=lambda w: inviting.invite(w.cast.acme, email="Nia@example.com", role="admin", by=w.cast.admin),
        wrong=inviting.AlreadyInvited, again=inviting.AlreadyInvited,
    ),
    "resend_invitation": Act(
        lambda w, by: inviting.resend_invitation(w.invitation, by=by), "invitation",
        by="admin", refused=NotAnInviter, others="globex_admin agent dev other_dev staff reviewer superuser",
        spoil=lambda w: inviting.revoke_invitation(w.invitation, by=w.cast.admin), wrong=inviting.InvitationOver,
        again=ANOTHER,
    ),
    "revoke_invitation": Act(
        lambda w, by: inviting.revoke_invitation(w.invitation, by=by), "invitation",
        by="admin", refused=NotAnInviter, others="globex_admin agent dev other_dev staff reviewer superuser",
        spoil=lambda w: inviting.accept_invitation(w.invitation, by=w.cast.other_dev), wrong=inviting.InvitationOver,
        again=inviting.InvitationOver,
    ),
    "accept_invitation": Act(
        lambda w, by: inviting.accept_invitation(w.invitation, by=by), "invitation",
        by="other_dev", refused=inviting.NotInvited, others="admin globex_admin agent dev staff reviewer superuser",
        spoil=lambda w: inviting.revoke_invitation(w.invitation, by=w.cast.admin), wrong=inviting.InvitationOver,
        again=inviting.InvitationOver,
    ),
    "verify_team": Act(
        lambda w, by: teams.verify_team(w.team, by=by), "", **STAFF,
        spoil=lambda w: teams.verify_team(w.team, by=None), wrong=teams.AlreadyVerified, again=teams.AlreadyVerified,
    ),
    "change_profile": Act(
        lambda w, by: profiles.change_profile(w.team, name="Acorn Labs", by=by), "",
        by="dev", refused=NotStaff, others="other_dev admin agent staff reviewer", spoil=ALWAYS, wrong=None, again=NOTHING_MORE,
    ),
    "ask_for_verification": Act(
        lambda w, by: profiles.ask_for_verification(w.asking_team, by=by), "asking_team",
        by="dev", refused=NotStaff, others="other_dev admin agent staff reviewer",
        spoil=lambda w: teams.verify_team(w.asking_team, by=None), wrong=profiles.NothingToVerify, again=profiles.NothingToVerify,
    ),
    "refuse_verification": Act(
        lambda w, by: profiles.refuse_verification(w.asked_team, reason="Why", by=by), "asked_team", **STAFF,
        spoil=lambda w: teams.verify_team(w.asked_team, by=None), wrong=profiles.NotWaiting, again=profiles.NotWaiting,
    ),
    "deactivate_person": Act(
        lambda w, by: people.deactivate_person(w.cast.agent, by=by), "", **STAFF,
        spoil=lambda w: people.deactivate_person(w.cast.agent, by=None), wrong=people.AlreadyDeactivated, again=people.AlreadyDeactivated,
    ),
    "change_staff": Act(
        lambda w, by: people.change_staff(w.cast.agent, is_staff=True, groups=Group.objects.all(), by=by), "", **STAFF,
        spoil=ALWAYS, wrong=None, again=ANOTHER,
    ),
    "remove_two_factor": Act(
        lambda w, by: people.remove_two_factor(w.cast.agent, by=by), "locked_person", **STAFF,
        spoil=lambda w: Authenticator.objects.all().delete(), wrong=people.NoSecondFactor, again=people.NoSecondFactor,
    ),
    "create_person": Act(
        lambda w, by: people.create_person(email="new@example.com", name="New", password="x" * 12, by=by), "", **STAFF,
        spoil=lambda w: people.create_person(email="new@example.com", name="N", password="x" * 12, by=None),
        wrong=ValidationError, again=ValidationError,
    ),
    # OAuth credentials
    "create_client": Act(
        lambda w, by: credentials.create_client(
            w.team, name="C", redirect_uris=[], scopes={VIEW: ""}, kind="platform", level="account", by=by
        ), "", **DEVELOPERS, spoil=lambda w: Product.objects.get().scopes.update(deprecated_at=database_now()),
        wrong=credentials.DeprecatedScope, again=ANOTHER,
    ),
    "create_test_client": Act(
        lambda w, by: trying.create_test_client(w.team, by=by), "", **DEVELOPERS,
        spoil=lambda w: Product.objects.get().scopes.update(deprecated_at=database_now()),
        wrong=credentials.UnknownScope, again=NOTHING_MORE,
    ),
    "make_test_secret": Act(
        lambda w, by: trying.make_test_secret(w.client, by=by), "client", **DEVELOPERS,
        spoil=lambda w: w.old_secret, wrong=credentials.TwoSecretsActive, again=credentials.TwoSecretsActive,
    ),
    "add_scopes": Act(
        lambda w, by: credentials.add_scopes(w.client, scopes={CREATE: ""}, by=by), "client", **DEVELOPERS,
        spoil=lambda w: Product.objects.get().scopes.update(deprecated_at=database_now()),
        wrong=credentials.DeprecatedScope, again=NOTHING_MORE,
    ),
    "change_client": Act(
        lambda w, by: credentials.change_client(w.client, redirect_uris=["https://a.example/"], description="", by=by),
        "client", **DEVELOPERS, spoil=ALWAYS, wrong=None, again=NOTHING_MORE,
    ),
    "rotate_secret": Act(
        lambda w, by: credentials.rotate_secret(w.client, overlap_hours=1, by=by), "client", **DEVELOPERS,
        spoil=lambda w: w.old_secret, wrong=credentials.TwoSecretsActive, again=credentials.TwoSecretsActive,
    ),
    "end_secret": Act(
        lambda w, by: credentials.end_secret(w.old_secret, by=by), "old_secret", **DEVELOPERS,
        spoil=lambda w: credentials.end_secret(w.old_secret, by=w.cast.dev), wrong=credentials.SecretNotActive,
        again=credentials.SecretNotActive,
    ),
    "suspend_client": Act(
        lambda w, by: credentials.suspend_client(w.client, reason="Why", by=by), "client", **REVIEWERS,
        spoil=_suspend, wrong=credentials.AlreadySuspended, again=credentials.AlreadySuspended,
    ),
    "lift_client": Act(
        lambda w, by: credentials.lift_client(w.client, reason="Why", secret_leaked=False, by=by), "suspended", **REVIEWERS,
        spoil=lambda w: credentials.lift_client(w.client, reason="Why", secret_leaked=True, by=w.people["reviewer"]),
        wrong=credentials.NotSuspended, again=credentials.NotSuspended,
    ),
    "make_product_secret": Act(
        lambda w, by: credentials.make_product_secret(Product.objects.get(), by=by), "", **STAFF,
        spoil=ALWAYS, wrong=None, again=ANOTHER,
    ),
    "set_base_address": Act(
        lambda w, by: credentials.set_base_address(factories.product(), base_address="https://desk.example", by=by), "",
        **STAFF, spoil=lambda w: credentials.set_base_address(
            Product.objects.create(slug="other", name="Other"), base_address="https://desk.example", by=None
        ), wrong=credentials.AddressTaken, again=NOTHING_MORE,
    ),
    # apps and versions
    "create_app": Act(
        lambda w, by: publishing.create_app(w.team, slug="fresh", by=by), "", **DEVELOPERS,
        spoil=lambda w: publishing.create_app(w.team, slug="fresh", by=w.cast.dev),
        wrong=ValidationError, again=ValidationError,
    ),
    "set_client": Act(
        lambda w, by: publishing.set_client(w.bare, w.client, by=by), "bare client", **DEVELOPERS,
        spoil=lambda w: w.draft, wrong=publishing.ClientTaken, again=publishing.ClientTaken,
    ),
    "create_version": Act(
        lambda w, by: publishing.create_version(w.draft.app, by=by, **version_fields("2.0")), "draft", **DEVELOPERS,
        spoil=lambda w: publishing.submit_version(
            publishing.create_version(w.draft.app, by=w.cast.dev, **version_fields("3.0")), by=w.cast.dev
        ), wrong=ValidationError, again=ValidationError,
    ),
    "change_version": Act(
        lambda w, by: publishing.change_version(w.draft, by=by, tagline="Other"), "draft", **DEVELOPERS,
        spoil=lambda w: w.review, wrong=publishing.Frozen, again=NOTHING_MORE,
    ),
    "take_package": Act(
        lambda w, by: packaging.take_package(w.draft, w.package, keep_secrets=True, by=by), "draft", **DEVELOPERS,
        spoil=lambda w: w.review, wrong=publishing.Frozen, again=NOTHING_MORE,
    ),
    "fill_package": Act(
        lambda w, by: packaging.fill_package(w.draft, packages.good(w.client, scope=VIEW), by=by), "draft", **DEVELOPERS,
        spoil=lambda w: w.review, wrong=publishing.Frozen, again=NOTHING_MORE,
    ),
    "keep_vendor_secret": Act(
        lambda w, by: keep_vendor_secret(w.draft.app, "octo", secret="s3cret", by=by), "draft", **DEVELOPERS,
        spoil=ALWAYS, wrong=None, again=ANOTHER,
    ),
    "submit_version": Act(
        lambda w, by: publishing.submit_version(w.draft, by=by), "draft", **DEVELOPERS,
        spoil=lambda w: w.custom, wrong=publishing.StatusCannotMove, again=publishing.StatusCannotMove,
    ),
    "take_back_version": Act(
        lambda w, by: publishing.take_back_version(w.review, by=by), "review", **DEVELOPERS,
        spoil=lambda w: w.approved, wrong=publishing.StatusCannotMove, again=publishing.StatusCannotMove,
    ),
    "copy_version": Act(
        lambda w, by: publishing.copy_version(w.taken_back, by=by), "taken_back", **DEVELOPERS,
        spoil=lambda w: publishing.copy_version(w.taken_back, by=w.cast.dev), wrong=ValidationError, again=ValidationError,
    ),
    "approve_version": Act(
        lambda w, by: publishing.approve_version(w.review, by=by), "review", **REVIEWERS,
        spoil=lambda w: publishing.reject_version(w.review, reason="No", by=w.people["reviewer"]),
        wrong=publishing.StatusCannotMove, again=publishing.StatusCannotMove,
    ),
    "reject_version": Act(
        lambda w, by: publishing.reject_version(w.review, reason="No", by=by), "review", **REVIEWERS,
        spoil=lambda w: w.approved, wrong=publishing.StatusCannotMove, again=publishing.StatusCannotMove,
    ),
    "publish_version": Act(
        lambda w, by: publishing.publish_version(w.approved, by=by), "approved", **DEVELOPERS,
        spoil=lambda w: w.published, wrong=publishing.StatusCannotMove, again=publishing.StatusCannotMove,
    ),
    "publish_custom": Act(
        lambda w, by: publishing.publish_custom(w.draft, accounts={w.cast.acme.slug}, by=by), "draft", **DEVELOPERS,
        spoil=lambda w: w.review, wrong=publishing.StatusCannotMove, again=publishing.StatusCannotMove,
    ),
    "take_down_picture": Act(
        lambda w, by: picturing.take_down_picture(w.with_icon, picture=picturing.key_of(w.with_icon.app, b"icon"), reason="Why", by=by), "with_icon",
        **REVIEWERS, spoil=_take_down, wrong=picturing.NotThere, again=picturing.NotThere,
    ),
    "withdraw_version": Act(
        lambda w, by: publishing.withdraw_version(w.published, reason="Why", by=by), "published", **DEVELOPERS,
        spoil=lambda w: publishing.withdraw_version(w.published, reason="Why", by=w.cast.dev), wrong=publishing.StatusCannotMove,
        again=publishing.StatusCannotMove,
    ),
    "list_accounts": Act(
        lambda w, by: publishing.list_accounts(w.draft.app, accounts={w.cast.globex.slug}, by=by), "custom", **DEVELOPERS,
        spoil=lambda w: setattr(w, "_made", {"draft": factories.app(w.cast.dev, None, required_scopes=[])}),
        wrong=publishing.NothingPublished, again=ANOTHER,
    ),
    "unlist_account": Act(
        lambda w, by: publishing.unlist_account(w.draft.app, account=w.cast.acme.slug, by=by), "custom", **DEVELOPERS,
        spoil=lambda w: publishing.unlist_account(w.draft.app, account=w.cast.acme.slug, by=w.cast.dev),
        wrong=publishing.AccountNotListed, again=publishing.AccountNotListed,
    ),
    # installations
    "install": Act(
        lambda w, by: installing.install(w.published.app, w.cast.acme, by=by), "published", **INSTALLERS,
        spoil=_suspend, wrong=installing.NotInstallable, again=installing.AlreadyInstalled,
    ),
    "install_draft": Act(
        lambda w, by: installing.install_draft(w.draft, by=by), "draft", **DEVELOPERS,
        spoil=lambda w: w.review, wrong=installing.NotADraft, again=ANOTHER,
    ),
    "install_to_try": Act(
        lambda w, by: installing.install_to_try(w.draft.app.client, by=by), "draft", **DEVELOPERS,
        spoil=lambda w: w.review, wrong=installing.NotADraft, again=ANOTHER,
    ),
    "change_values": Act(
        lambda w, by: connecting.change_values(w.multi.installation, values={"owner": "acme"}, by=by), "multi",
        by="admin", refused=Refused, others="globex_admin agent dev other_dev staff superuser",
        spoil=lambda w: installing.uninstall(w.multi.installation, by=w.cast.admin), wrong=connecting.NotThere,
        again=NOTHING_MORE,
    ),
    "prepare_connection": Act(
        lambda w, by: connecting.prepare_connection(w.multi.installation, "calendar", values={"room": "4"}, by=by), "multi",
        by="admin", refused=Refused, others="globex_admin agent dev other_dev staff superuser",
        spoil=lambda w: installing.uninstall(w.multi.installation, by=w.cast.admin), wrong=connecting.NotThere,
        again=NOTHING_MORE,
    ),
    "finish_connection": Act(
        lambda w, by: connecting.finish_connection(w.multi.installation, "calendar", by=by, **w.code), "multi code",
        by="admin", refused=Refused, others="globex_admin agent dev other_dev staff superuser",
        spoil=lambda w: installing.uninstall(w.multi.installation, by=w.cast.admin), wrong=connecting.NotThere,
        again=VendorError,
    ),
    "disconnect": Act(
        lambda w, by: connecting.disconnect(w.connection, by=by), "connection",
        by="admin", refused=Refused, others="globex_admin agent dev other_dev staff superuser",
        spoil=lambda w: connecting.disconnect(w.connection, by=w.cast.admin), wrong=connecting.NotConnected,
        again=connecting.NotConnected,
    ),
    "upgrade": Act(
        lambda w, by: upgrading.upgrade(w.installation, w.next_version, by=by), "next_version", **INSTALLERS,
        spoil=_uninstall, wrong=upgrading.NotOffered, again=upgrading.NotOffered,
    ),
    "decline_upgrade": Act(
        lambda w, by: upgrading.decline_upgrade(w.installation, w.next_version, by=by), "next_version", **INSTALLERS,
        spoil=_uninstall, wrong=upgrading.NotOffered, again=NOTHING_MORE,
    ),
    "set_upgrades_itself": Act(
        lambda w, by: upgrading.set_upgrades_itself(w.installation, on=True, by=by), "installation", **INSTALLERS,
        spoil=_uninstall, wrong=upgrading.NotOffered, again=NOTHING_MORE,
    ),
    "uninstall": Act(
        lambda w, by: installing.uninstall(w.installation, by=by), "installation", **INSTALLERS,
        spoil=_uninstall, wrong=installing.AlreadyUninstalled, again=installing.AlreadyUninstalled,
    ),
    "discard": Act(
        lambda w, by: installing.discard(w.installation, by=by), "installation", **INSTALLERS,
        spoil=lambda w: w.consent, wrong=installing.NotUnfinished, again=installing.AlreadyUninstalled,
    ),
    # accesses and consents
    "open_access": Act(
        lambda w, by: granting.open_access(w.client, w.cast.acme, by=by), "client",
        by="admin", refused=MayNotConsent, others="globex_admin agent dev staff superuser",
        spoil=lambda w: w.closed, wrong=MayNotConsent, again=granting.AccessIsOpen,
    ),
    "grant_consent": Act(
        lambda w, by: granting.grant_consent(w.client, w.cast.acme, by=by, shown=w.digest), "digest",
        by="admin", refused=MayNotConsent, others="globex_admin agent dev staff superuser",
        spoil=_uninstall, wrong=NotInstalled, again=ScreenIsStale,
    ),
    "decline_consent": Act(
        lambda w, by: granting.decline_consent(w.client, w.cast.acme, by=by), "installation",
        by="admin", refused=MayNotConsent, others="globex_admin dev staff superuser", spoil=ALWAYS, wrong=None, again=ANOTHER,
    ),
    "end_access": Act(
        lambda w, by: ending.end_access(w.access, by=by, reason=AccessEnd.REVOKED), "access", **INSTALLERS,
        spoil=lambda w: ending.end_access(w.access, by=w.cast.admin, reason=AccessEnd.REVOKED), wrong=ending.AlreadyEnded,
        again=ending.AlreadyEnded,
    ),
    "revoke_consent": Act(
        lambda w, by: ending.revoke_consent(w.consent, by=by), "consent",
        by="admin", refused=NotYours, others="globex_admin agent dev staff superuser",
        spoil=_uninstall, wrong=ending.AlreadyEnded, again=ending.AlreadyEnded,
    ),
    "revoke_for_all": Act(
        lambda w, by: ending.revoke_for_all(w.by_agents.access, by=by), "by_agents", **INSTALLERS,
        spoil=lambda w: installing.uninstall(w.by_agents, by=w.cast.admin), wrong=ending.AlreadyEnded,
        again=ending.AlreadyEnded,
    ),
    "trim_consent": Act(
        lambda w, by: ending.trim_consent(w.consent, scopes={VIEW}, by=by), "consent",
        by="admin", refused=NotYours, others="globex_admin agent dev staff superuser",
        spoil=_uninstall, wrong=ending.AlreadyEnded, again=ending.NotGranted,
    ),
    "confirm_consent": Act(
        lambda w, by: succeeding.confirm_consent(w.leaderless, by=by, shown=statement_of(w.leaderless, by).digest()), "leaderless",
        by="successor", refused=NotAnAdmin, others="globex_admin admin agent dev staff superuser",
        spoil=lambda w: ending.revoke_consent(w.leaderless, by=w.people["successor"]), wrong=ending.AlreadyEnded,
        again=succeeding.NotNeeded,
    ),
    "issue_code": Act(
        lambda w, by: issuing.issue_code(
            w.consent, by=by, scopes={VIEW}, redirect_uri=factories.REDIRECT_URI, code_challenge="x" * 43
        ), "consent", by="admin", refused=MayNotConsent, others="globex_admin agent dev staff superuser",
        spoil=_uninstall, wrong=InvalidGrant, again=ANOTHER,
    ),
}  # fmt: skip
