"""Two tenants with one of everything, and every kind of person: built once, with each request rolled back."""

import contextlib
import datetime as dt
import re
from types import SimpleNamespace

from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from allauth.mfa.totp.internal.auth import TOTP, generate_totp_secret
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import Client as Browser

from consent.actions import ending
from consent.models import Consent
from consent.reasons import AccessEnd
from credentials import actions as credentials
from credentials.models import ClientSecret, Endpoint, Kind, Level, Scope
from marketplace.actions import installing, publishing
from marketplace.models import Connection
from portal.accounts.actions import memberships, profiles, teams
from portal.demo.sandbox.models import Ticket
from portal.ledger import preparing
from portal.ledger.filters import Filters
from portal.ledger.keys import signer
from tests import factories
from tests.factories import CREATE, EDIT, VIEW, team_of, version_fields
from tests.marketplace import packages
from tests.oauth import AppSide, sign_in
from tests.people.sent import SENT

PEOPLE = ("out", "dev", "mate", "odev", "admin", "oadm", "agent", "oagt", "rev", "staff", "super")
# A word in all of a tenant's names, which no page may show to a stranger.
# `<slug:client_id>`, or `(?P<key>…)` in an address that is a pattern.
PARAMETER = re.compile(r"\(\?P<(\w+)>[^)]*\)|<(?:\w+:)?(\w+)>")
MINE, THEIRS = "Quokka", "Wombat"


def tenant(word, *, dev, admin, agent, account, slug=None, invited=None):
    """A team with clients, apps and versions in every state, and an account that uses them, agents too."""
    own = SimpleNamespace(word=word, dev=dev, admin=admin, agent=agent, account=account, team=team_of(dev))

    profiles.change_profile(own.team, by=dev, website=f"https://{word.lower()}.example", logo=f"{word} logo".encode())

    def client(name, **more):
        return factories.client(dev, name=f"{word} {name}", scopes=(VIEW, EDIT, CREATE), **more)

    def app(row, address=None, **fields):
        made = publishing.create_app(
            own.team,
            slug=address or f"{word.lower()}-{row.name.split()[-1].lower()}",
            client=row,
            by=dev,
        )
        fields = {"name": row.name, "description": f"{word} told at length", "required_scopes": [VIEW], **fields}
        return made, publishing.create_version(made, by=dev, **version_fields(**fields))

    def add(number):
        fields = version_fields(number, name=f"{word} Desk", install_url="https://app.example/install")
        return publishing.create_version(own.app, by=dev, **fields)

    # A listed app that works in the account, with a later version in each state.
    own.client, _secret = client("Desk")
    own.old_secret = own.client.secrets.get()
    _row, own.secret = credentials.rotate_secret(own.client, overlap_hours=24, by=dev)
    listed = {"optional_scopes": [EDIT], "install_url": "https://app.example/install", "icon": f"{word} icon".encode()}
    listed["screenshots"] = [{"data": f"{word} screen".encode(), "text": "Its desk"}]
    own.app, draft = app(own.client, slug, **listed)
    if slug:
        own.version = factories.publish(draft, dev, by=factories.reviewer())
    else:
        # Other accounts must not see it.
        own.version = publishing.publish_custom(draft, accounts={account.slug}, by=dev)
    own.installation = installing.install(own.app, account, by=admin)
    own.consent = factories.agree(own.client, account, admin, requested={VIEW})
    own.approved = publishing.submit_version(add("2.0"), by=dev)
    publishing.approve_version(own.approved, by=factories.reviewer())
    own.in_review = publishing.submit_version(add("3.0"), by=dev)
    own.taken_back = publishing.take_back_version(publishing.submit_version(add("3.5"), by=dev), by=dev)
    own.draft = add("4.0")
    own.packaged = add("4.5")
    files = packages.good(own.client)
    del files["config/oauth_config.json"]["integrations"]["octo"]["client_secret"]
    publishing.change_version(own.packaged, by=dev, package=files)
    # Hosted, for chosen accounts, and not agreed to yet.
    row, _secret = client("Custom")
    own.custom, draft = app(row)
    own.custom_version = publishing.publish_custom(draft, accounts={account.slug}, by=dev)
    own.unfinished = installing.install(own.custom, account, by=admin)
    # For chosen accounts, and not installed yet.
    row, _secret = client("Waiting")
    hidden = [{"data": f"{word} hidden".encode(), "text": "Its queue"}]
    own.waiting, draft = app(row, icon=f"{word} waits".encode(), screenshots=hidden)
    own.waiting_version = publishing.publish_custom(draft, accounts={account.slug}, by=dev)
    # With a later version that waits for the account's permission.
    row, _secret = client("Grown")
    own.grown, draft = app(row)
    own.grown_version = publishing.publish_custom(draft, accounts={account.slug}, by=dev)
    own.growing = installing.install(own.grown, account, by=admin)
    factories.agree(row, account, admin)
    fields = version_fields("1.1", name=row.name, required_scopes=[VIEW, EDIT])
    draft = publishing.create_version(own.grown, by=dev, **fields)
    own.grown_next = publishing.publish_custom(draft, accounts={account.slug}, by=dev)
    # With a vendor for the account and one for each agent, and settings of its own.
    row, _secret = client("Planner")
    own.planner, draft = app(row)
    publishing.change_version(draft, by=dev, package=packages.planner(row))
    publishing.publish_custom(draft, accounts={account.slug}, by=dev)
    own.planned = installing.install(own.planner, account, by=admin)
    Connection.objects.create(
        installation=own.planned,
        integration="calendar",
        values={"room": "4"},
        tokens={"access_token": "t"},
        connected_at=Now(),
        connected_by=admin,
    )
    # Agent-level.
    own.agent_client, _secret = client("Helper", level=Level.AGENT)
    made, draft = app(own.agent_client, install_url="https://app.example/install")
    publishing.publish_custom(draft, accounts={account.slug}, by=dev)
    own.agent_installation = installing.install(made, account, by=admin)
    own.agent_consent = factories.agree(own.agent_client, account, agent)
    # Near enough for the list of what ends, but too far for pages and mails to mention.
    Consent.objects.filter(pk=own.agent_consent.pk).update(expires_at=Now() + dt.timedelta(days=45))
    # Credentials without an app, and an app without credentials.
    own.free, _secret = client("Spare")
    own.bare = publishing.create_app(own.team, slug=f"{word.lower()}-bare", by=dev)
    # External ones: of the account, of an agent, and one whose access has ended.
    own.external, secret = client("Outside", kind=Kind.EXTERNAL)
    own.outside = factories.agree(own.external, account, admin).access
    own.token = _token(own.external, secret, account)
    own.desk_token = _token(own.client, own.secret, account)
    AppSide(Browser(), own.client, own.secret).call(own.desk_token, "delete", "/sandbox/api/v2/tickets/1")
    own.external_agent, _secret = client("Pocket", kind=Kind.EXTERNAL, level=Level.AGENT)
    own.pocket = factories.agree(own.external_agent, account, agent, requested={VIEW}).access
    gone, _secret = client("Gone", kind=Kind.EXTERNAL)
    ended = factories.agree(gone, account, admin, requested={VIEW}).access
    # Agreed to for the account by an admin who has left.
    left, _secret = client("Left", kind=Kind.EXTERNAL)
    leaver = factories.member(account, "admin", "Leo")
    own.left = factories.agree(left, account, leaver, requested={VIEW})
    memberships.end_membership(account.memberships.get(user=leaver), by=admin)
    own.gone = ended
    own.receipt = ending.end_access(ended, by=admin, reason=AccessEnd.REVOKED)
    own.invitation, own.invitation_token = factories.invited(account, invited or "nobody@example.com", by=admin)
    own.export = preparing.ask(Filters(dev), "json")
    preparing.write_some(str(own.export.pk))
    own.ticket = Ticket.objects.create(account=account, subject=f"{word} printer on fire")
    return own


def _token(client, secret, account):
    return AppSide(Browser(), client, secret).client_credentials(account.slug).json()["access_token"]


def ids(own):
    """Return what each URL parameter stands for in a tenant, with the URLs where it stands for something else."""
    usual = {
        "client_id": own.client.client_id,
        "secret_id": own.old_secret.pk,
        "slug": own.app.slug,
        "pk": own.draft.pk,
        "account": own.account.slug,
        "access_id": own.outside.pk,
        "consent_id": own.consent.pk,
        "public_id": own.team.public_id,
        "token": own.invitation_token,
        "entry_id": own.receipt.pk,
        "export_id": own.export.pk,
        "ticket_id": own.ticket.pk,
        "product": "freshservice",
        "path": "freshservice",
        "name": "made-up-0",
        "integration": "octo",
        "key": "made-up",
        "uidb36": "1",
        "url": "nowhere/",
        "app_label": "accounts",
        "content_type_id": ContentType.objects.get_for_model(own.account).pk,
        "object_id": 1,
    }
    elsewhere = {
        "credentials/<slug:client_id>/secrets/": {"client_id": own.free.client_id},
        "GET/bare apps/<slug:slug>/": {"slug": own.bare.slug},
        "POST apps/<slug:slug>/": {"slug": own.bare.slug},
        "POST/ask apps/<slug:slug>/": {"slug": own.bare.slug},
        "needs/<slug:name>/": {"name": "unfinished"},
        "apps/<slug:slug>/accounts/": {"slug": own.custom.slug},
        "apps/<slug:slug>/accounts/<slug:account>/remove/": {"slug": own.custom.slug},
        "apps/<slug:slug>/versions/<int:pk>/take-back/": {"pk": own.in_review.pk},
        "apps/<slug:slug>/versions/<int:pk>/copy/": {"pk": own.taken_back.pk},
        "apps/<slug:slug>/versions/<int:pk>/publish/": {"pk": own.approved.pk},
        "apps/<slug:slug>/versions/<int:pk>/package/download/": {"pk": own.packaged.pk},
        "apps/<slug:slug>/versions/<int:pk>/package/secrets/<str:integration>/": {"pk": own.packaged.pk},
        "GET apps/<slug:slug>/versions/<int:pk>/package/": {"pk": own.packaged.pk},
        **{
            f"{kind}marketplace/<slug:slug>/{picture}/": {"slug": version.app.slug, "pk": version.pk, "number": 1}
            for kind, version in (("", own.version), ("GET/custom ", own.waiting_version))
            for picture in ("icon/<int:pk>", "screenshots/<int:pk>/<int:number>")
        },
        "GET/custom marketplace/<slug:slug>/": {"slug": own.waiting.slug},
        "GET/custom marketplace/<slug:slug>/install/": {"slug": own.waiting.slug},
        "POST marketplace/<slug:slug>/install/": {"slug": own.waiting.slug},
        **{
            f"members/<slug:slug>/{more}": {
                "slug": own.account.slug,
                "pk": own.account.memberships.get(user=own.agent).pk,
            }
            for more in ("", "invite/", "<uuid:pk>/role/", "<uuid:pk>/remove/")
        },
        **{
            f"teams/<uuid:public_id>/<int:pk>/{act}/": {"pk": own.team.memberships.order_by("pk").last().pk}
            for act in ("role", "remove")
        },
        **{f"invitations/<uuid:pk>/{act}/": {"pk": own.invitation.pk} for act in ("resend", "revoke")},
        "installations/<uuid:pk>/": {"pk": own.installation.pk},
        "GET/agent installations/<uuid:pk>/": {"pk": own.agent_installation.pk},
        "GET/agent authorizations/<uuid:access_id>/": {"access_id": own.pocket.pk},
        "GET/agent authorizations/<uuid:access_id>/reauthorize/": {"access_id": own.pocket.pk},
        **{
            f"{kind}authorizations/<uuid:access_id>/revoke-for-all/": {"access_id": access.pk}
            for kind, access in (
                ("", own.agent_installation.access),
                ("GET/account ", own.outside),
                ("POST/account ", own.outside),
            )
        },
        **{
            f"{method}/agent consents/<uuid:consent_id>/{act}/": {"consent_id": own.agent_consent.pk}
            for method in ("GET", "POST")
            for act in ("trim", "widen", "renew", "revoke")
        },
        "consents/<uuid:consent_id>/confirm/": {"consent_id": own.left.pk},
        "installations/<uuid:pk>/settings/": {"pk": own.planned.pk},
        "installations/<uuid:pk>/console/": {"pk": own.planned.pk},
        "api/v1/installations/<uuid:pk>/requests/<str:name>": {"pk": own.planned.pk, "name": "events"},
        **{
            f"{kind}installations/<uuid:pk>/connections/<str:integration>/{step}": {
                "pk": own.planned.pk,
                "integration": integration,
            }
            for kind, integration in (("", "calendar"), ("GET/agent ", "boards"), ("POST/agent ", "boards"))
            for step in ("", "disconnect/")
        },
        "help/<slug:slug>/": {"slug": "start"},
        "help/<slug:slug>.md": {"slug": "start"},
        "oauth/callback/<slug:slug>/<str:integration>": {"slug": own.planner.slug, "integration": "calendar"},
        "installations/<uuid:pk>/connect/": {"pk": own.installation.pk},
        "installations/<uuid:pk>/upgrade/": {"pk": own.growing.pk},
        "installations/<uuid:pk>/upgrades-itself/": {"pk": own.growing.pk},
        "apps/<slug:slug>/versions/<int:pk>/changes/": {"slug": own.grown.slug, "pk": own.grown_next.pk},
        "apps/<slug:slug>/versions/<int:pk>/withdraw/": {"slug": own.grown.slug, "pk": own.grown_version.pk},
        "installations/<uuid:pk>/uninstall/": {"pk": own.installation.pk},
        "installations/<uuid:pk>/discard/": {"pk": own.unfinished.pk},
        **{
            f"{method}/take-down admin/marketplace/version/<path:object_id>/press/<slug:button>/": {
                "object_id": own.version.pk
            }
            for method in ("GET", "POST")
        },
        "admin/r/<path:content_type_id>/<path:object_id>/": {"object_id": own.account.pk},
        **{
            f"admin/{window}/": {"object_id": pk}
            for window, pk in {
                "accounts/user": own.agent.pk,
                "accounts/account": own.account.pk,
                "accounts/membership": own.account.memberships.get(user=own.agent).pk,
                "accounts/team": own.team.pk,
                "credentials/product": factories.product().pk,
                "credentials/scope": Scope.objects.first().pk,
                "credentials/endpoint": Endpoint.objects.first().pk,
                "marketplace/version": own.in_review.pk,
                "credentials/client": own.client.pk,
            }.items()
        },
    }
    return usual, elsewhere


def body(response):
    text = (response.getvalue() if response.streaming else response.content).decode(errors="replace")
    # Every page names an account of the person's own.
    return re.sub(r'<a class="switch".*?</a>', "", text, flags=re.S)


class World:
    """The people by column, `mine` and `theirs`, with a browser for each."""

    def __init__(self):
        factories.product()
        acme, globex = factories.account("quokka"), factories.account("wombat")
        person = factories.person
        self.people = {
            "dev": person("Devi"),
            "mate": person("Mats", team=False),
            "odev": person("Otto"),
            "admin": factories.member(acme, "admin", "Ada"),
            "oadm": factories.member(globex, "admin", "Gus"),
            "agent": factories.member(acme, "agent", "Axel"),
            "oagt": factories.member(acme, "agent", "Ana"),
            "rev": factories.reviewer(),
            "staff": person("Stef", team=False, is_staff=True),
            "super": person("Sue", team=False, is_staff=True, is_superuser=True),
        }
        # Downloading a receipt signs it, which is recorded once for each key.
        signer()
        for user, word in (("dev", MINE), ("odev", THEIRS)):
            team = team_of(self.people[user])
            type(team).objects.filter(pk=team.pk).update(name=f"{word} team")
        teams.add_teammate(team_of(self.people["dev"]), self.people["mate"], role="member", by=None)
        whose = {name: self.people[name] for name in ("dev", "admin", "agent")}
        whose["invited"] = self.people["odev"].email
        self.mine = tenant(MINE, account=acme, slug="reply-helper", **whose)
        self.theirs = tenant(
            THEIRS,
            account=globex,
            dev=self.people["odev"],
            admin=self.people["oadm"],
            agent=factories.member(globex, "agent", "Gia"),
        )
        self.browsers = {name: Browser() for name in PEOPLE}
        for name, user in self.people.items():
            sign_in(self.browsers[name], user)
            # Two-factor's pages ask for the password again.
            self.browsers[name].post("/accounts/reauthenticate/", {"password": factories.PASSWORD})
        TOTP.activate(self.mine.agent, generate_totp_secret())
        RecoveryCodes.activate(self.mine.agent).mark_as_viewed()
        credentials.set_base_address(factories.product(), base_address="https://desk.example.com", by=None)
        # Its use is recorded once a minute, which takes no note of how long the world took to make.
        ClientSecret.objects.update(last_used_at=None)
        # Hidden fields of pages that their sender may not see, by path and names.
        self.for_outsiders = {}
        self.product_secret = credentials.make_product_secret(factories.product(), by=None)
        self.ids = {own.word: ids(own) for own in (self.mine, self.theirs)}
        # Refusals are counted for the client's developers, and most forms store their token; neither counts as a change.
        uncounted = {"consent_failure", "accounts_sentform"}
        self.tables = sorted({*connection.introspection.table_names()} - uncounted)
        self.before = self.snapshot()

    def parameters(self, address, kind, word=MINE):
        """{name: value} of an address's parameters, for a tenant."""
        usual, elsewhere = self.ids[word]
        # An address of the admin's means a row of its window.
        window = "/".join(address.split("/")[:3]) + "/" if address.startswith("admin/") else ""
        found = {**usual, **elsewhere.get(window, {}), **elsewhere.get(address, {})}
        found |= elsewhere.get(f"{kind} {address}", {})
        return {name: found.get(name) for name in (match[1] or match[2] for match in PARAMETER.finditer(address))}

    def send(self, who, address, method, about="", values=None, **more):
        """Send a person's request to a URL, with what sent.py has for it; `about` is the kind of request.

        `values` replace the URL parameters of `mine`.
        """
        path, given = self.prepared(who, address, method, about, values, **more)
        return getattr(self.browsers[who], method.lower())(path, **given)

    def prepared(self, who, address, method, about="", values=None, **more):
        """Return the path that `send` sends to, and what."""
        kind = f"{method}/{about}" if about else method
        given = SENT.get(f"{kind} {address}", lambda world, who: {})(self, who) | more
        found = {**self.parameters(address, kind), "button": about, **(values or {})}
        filled = PARAMETER.sub(lambda match: str(found[match[1] or match[2]]), address)
        path = given.pop("path", None) or "/" + filled.replace("^", "").replace("$", "")
        return path, given

    @contextlib.contextmanager
    def undone(self):
        """Roll back whatever a block does, after checking deferred constraints."""
        cookies = {name: browser.cookies.copy() for name, browser in self.browsers.items()}
        self.written_before = self.written_rows()
        with transaction.atomic():
            yield
            connection.check_constraints()
            transaction.set_rollback(True)
        for name, browser in self.browsers.items():
            browser.cookies = cookies[name]

    def written_rows(self):
        """Return {table: how many rows this transaction has written so far, rolled back or not}."""
        # Browser tests and races keep copies of the tables in schemas of their own.
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables"
                " WHERE schemaname = current_schema()"
            )
            return dict(cursor.fetchall())

    def snapshot(self, tables=None):
        """Return {table: (rows, a hash of their content)}; of sessions only the number, since they keep what was shown to whom."""
        tables = self.tables if tables is None else tables
        if not tables:
            return {}
        asked = [
            f"SELECT '{table}', count(*), "
            + ("''" if table == "django_session" else "coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '')")
            + f' FROM "{table}" t'
            for table in tables
        ]
        with connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(asked))
            return {table: (rows, digest) for table, rows, digest in cursor.fetchall()}

    def changes(self):
        """Return what a block of `undone` changed so far, such as {"entry+1", "client~"}; ~ is a changed row."""
        found, written = set(), self.written_rows()
        tables = [table for table in self.tables if written[table] != self.written_before[table]]
        for table, (rows, digest) in self.snapshot(tables).items():
            before, was = self.before[table]
            name = table.partition("_")[2]
            if rows != before:
                found.add(f"{name}{rows - before:+}")
            elif digest != was:
                found.add(f"{name}~")
        if any(change.startswith("entry+") for change in found):
            # A chain's length and head change with every entry.
            found = {change for change in found if not change.startswith("chain")}
        return found
