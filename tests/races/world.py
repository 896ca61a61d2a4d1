"""The people and things that race, made by actions."""

import datetime as dt
import itertools
import threading
from collections import Counter
from contextlib import suppress
from types import SimpleNamespace

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.test import Client as Browser
from django.utils import translation

from consent.actions import ending, issuing
from consent.asking import MayNotConsent
from consent.reasons import AccessEnd
from consent.screen import build_screen
from consent.succession import statement_of
from credentials import actions as credentials
from credentials.models import Kind, Level
from marketplace.actions import installing, publishing, upgrading
from marketplace.models import Connection
from portal.accounts.actions import accounts, inviting, memberships, teams
from portal.accounts.models import Membership
from portal.foundation.database import database_now
from portal.ledger.models import Chain, Entry
from tests import factories
from tests.clock import advance
from tests.factories import CREATE, EDIT, REDIRECT_URI, VIEW
from tests.marketplace.packages import planner
from tests.oauth import AppSide, pkce
from tests.servers import Http

URL = {"install_url": "https://app.example/install"}


_own = threading.local()


def _here():
    """Return a browser whose calls run in this thread, on its connection."""
    if not hasattr(_own, "browser"):
        _own.browser = Browser()
    return _own.browser


class There:
    """Sends an app's calls to server processes in turn."""

    def __init__(self, servers):
        self.ports = itertools.cycle([server.port for server in servers])

    def post(self, path, body, content_type, HTTP_AUTHORIZATION):
        headers = {"Content-Type": content_type, "Authorization": HTTP_AUTHORIZATION}
        return Http(next(self.ports)).request("POST", path, body, **headers)


class World:
    """`sides` are apps by their state; the other dicts have what belongs to them under the same name."""

    # Where apps send their calls: There, or None for the acting thread.
    there = None

    def __init__(self):
        factories.product()
        self.dev, self.dev2 = factories.person("Dev"), factories.person("Dan", team=False)
        self.team = factories.team_of(self.dev)
        teams.add_teammate(self.team, self.dev2, role="owner", by=self.dev)
        RecoveryCodes.activate(self.dev2)
        self.reviewers = [factories.reviewer(), factories.reviewer()]
        self.account = factories.account("acme")
        self.admin, self.admin2 = (factories.member(self.account, "admin", name) for name in ("Ada", "Abe"))
        self.agent, self.agent2 = (factories.member(self.account, "agent", name) for name in ("Axel", "Ana"))
        self.stranger = factories.person("Sam", team=False)
        self.members = {row.user_id: row for row in Membership.objects.filter(account=self.account)}
        self.sides, self.versions, self.installations, self.consents = {}, {}, {}, {}
        self.tokens, self.codes, self.used = {}, {}, {}
        self._expired()
        self._reused()
        self._installed("account", Level.ACCOUNT, self.admin)
        self._installed("agent", Level.AGENT, self.agent)
        self._installed("unfinished", Level.ACCOUNT, None)
        self._connected()
        self.steps = {}
        self._grown("grown", CREATE)
        self._grown("eased")
        self._published("listed", Level.ACCOUNT)
        self._external("external", Level.ACCOUNT, self.admin)
        self._external("new", Level.ACCOUNT, None)
        self._external("new_agent", Level.AGENT, None)
        self._external("ended", Level.ACCOUNT, self.admin)
        ending.end_access(self.consents["ended"].access, by=self.admin, reason=AccessEnd.REVOKED)
        self._left()
        self._external("suspended", Level.ACCOUNT, None)
        credentials.suspend_client(self.sides["suspended"].client, reason="Harm", by=self.reviewers[0])
        self.other_account = factories.account("other")
        accounts.suspend_account(self.other_account, reason="Unpaid", by=None)
        self._versions()
        self.invitation = inviting.invite(self.account, email=self.stranger.email, role="agent", by=self.admin)
        inviting.tell_of_invitation(self.invitation)
        self.pages = {}
        for name in ("account", "agent", "unfinished", "new", "new_agent", "expired"):
            for who in ("admin", "admin2", "agent", "agent2"):
                self._read(name, who)
                self._read(name, who, replace=True)
        self.lengths = Counter(dict(Chain.objects.values_list("name", "length")))
        self._events = Counter(Entry.objects.values_list("event", flat=True))

    def before(self, events):
        """Return how many ledger entries of these events there were before any race."""
        return sum(self._events[event] for event in events)

    def _read(self, name, who, **more):
        """Keep the digest of the page that a person reads before the race."""
        client, by = self.sides[name].client, getattr(self, who)
        with suppress(MayNotConsent), translation.override("en"):
            screen = build_screen(client, self.account, by=by, now=database_now(), **more)
            self.pages[name, who, *more] = screen.digest()

    def _published(self, name, level):
        self.sides[name] = SimpleNamespace(client=None, secret=None)
        self.sides[name].client, self.sides[name].secret = factories.client(self.dev, level=level, name=name)
        draft = factories.app(self.dev, self.sides[name].client, optional_scopes=[EDIT], **URL)
        self.versions[name] = factories.publish(draft, self.dev, by=self.reviewers[0])

    def _installed(self, name, level, person):
        self._published(name, level)
        self.installations[name] = installing.install(self.versions[name].app, self.account, by=self.admin)
        if person:
            self._used(name, person)

    def _grown(self, name, *scopes):
        """An app in use whose next version adds these scopes and drops EDIT, and what each admin read before."""
        self._installed(name, Level.ACCOUNT, self.admin)
        if scopes:
            credentials.add_scopes(self.sides[name].client, scopes=dict.fromkeys(scopes, "It grew"), by=self.dev)
        fields = factories.version_fields("1.1", required_scopes=[VIEW, *scopes], **URL)
        draft = publishing.create_version(self.versions[name].app, by=self.dev, **fields)
        self.versions[f"{name}_next"] = following = factories.publish(draft, self.dev, by=self.reviewers[0])
        for who in ("admin", "admin2"):
            with translation.override("en"):
                step = upgrading.step_to(self.installations[name], following, by=getattr(self, who))
                self.steps[name, who] = step.screen.digest()

    def _connected(self):
        """An app with vendors that are never called: one is connected for the account, the agents' is not."""
        client, _secret = factories.client(self.dev, name="planner")
        draft = publishing.change_version(factories.app(self.dev, client), by=self.dev, package=planner(client))
        publishing.publish_custom(draft, accounts={self.account.slug}, by=self.dev)
        self.installations["planner"] = installing.install(draft.app, self.account, by=self.admin)
        self.connection = Connection.objects.create(
            installation=self.installations["planner"], integration="calendar", values={"room": "4"},
            tokens={"access_token": "t", "refresh_token": "r"}, connected_at=database_now(), connected_by=self.admin,
        )  # fmt: skip

    def _external(self, name, level, person):
        client, secret = factories.client(self.dev, kind=Kind.EXTERNAL, level=level, name=name)
        self.sides[name] = SimpleNamespace(client=client, secret=secret)
        if person:
            self._used(name, person)

    def _expired(self):
        """A consent that has expired and is not stamped yet."""
        self._external("expired", Level.ACCOUNT, self.admin)
        advance(dt.timedelta(days=366))

    def _left(self):
        """A consent whose giver is no longer an admin, as two others read it."""
        leaver = factories.member(self.account, "admin", "Lea")
        self._external("left", Level.ACCOUNT, leaver)
        memberships.change_role(self.account.memberships.get(user=leaver), role="agent", by=None)
        readers = {"admin": self.admin, "admin2": self.admin2}
        self.statements = {who: statement_of(self.consents["left"], by).digest() for who, by in readers.items()}

    def _reused(self):
        """A family whose first token was replaced over a minute ago; presenting it again is reuse (T6)."""
        self._external("reused", Level.ACCOUNT, self.admin)
        self.replaced = self.tokens["reused"]
        self.tokens["reused"] = self.app_side("reused").refresh(self.replaced["refresh_token"]).json()
        advance(dt.timedelta(minutes=2))

    def _used(self, name, person):
        """Consent to both scopes, and issue a family, an access token and a code that is not exchanged yet."""
        client, secret = self.sides[name].client, self.sides[name].secret
        granted = factories.agree(client, self.account, person, chosen=[EDIT])
        app = AppSide(_here(), client, secret)
        self.used[name] = self._code(granted, person)
        answer = app.exchange(*self.used[name])
        assert answer.status_code == 200, answer.content
        self.consents[name], self.tokens[name] = granted, answer.json()
        self.codes[name] = self._code(granted, person)

    def _code(self, granted, person):
        verifier, challenge = pkce()
        code = issuing.issue_code(
            granted, by=person, scopes={VIEW, EDIT}, redirect_uri=REDIRECT_URI, code_challenge=challenge
        )
        return code, verifier

    def _versions(self):
        """Drafts, and versions in review and approved."""
        make = {"draft": (), "in_review": (1,), "approved": (1, 2)}
        for name, steps in make.items():
            client, _secret = factories.client(self.dev, name=name)
            version = factories.app(self.dev, client)
            self.drafted = getattr(self, "drafted", client)
            if 1 in steps:
                version = publishing.submit_version(version, by=self.dev)
            if 2 in steps:
                version = publishing.approve_version(version, by=self.reviewers[0])
            self.versions[name] = version
        client, _secret = factories.client(self.dev, name="custom")
        version = factories.app(self.dev, client)
        self.versions["custom"] = publishing.publish_custom(version, accounts={"first"}, by=self.dev)
        self.versions["custom_draft"] = publishing.create_version(
            version.app, by=self.dev, **factories.version_fields("2.0")
        )
        self.free_client, _secret = factories.client(self.dev, name="free")
        self.other_client, _secret = factories.client(self.dev, name="other")
        self.apps = [publishing.create_app(self.team, slug=f"free-{number}", by=self.dev) for number in range(2)]
        self.rotated, _secret = factories.client(self.dev, name="rotated")
        credentials.rotate_secret(self.rotated, overlap_hours=24, by=self.dev)

    def app_side(self, name):
        return AppSide(self.there or _here(), self.sides[name].client, self.sides[name].secret)
