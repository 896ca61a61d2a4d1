import json
from datetime import timedelta
from typing import Any, cast

from django.conf import settings
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction
from django.utils.functional import cached_property

from consent.actions.granting import grant_consent
from consent.screen import build_screen
from credentials import actions as credentials
from credentials.models import Client, Kind, Level, Product
from credentials.registry import import_document
from marketplace.actions import installing, packaging, publishing
from marketplace.models import App
from portal.accounts.actions import accounts, memberships, people, teams
from portal.accounts.models import REVIEWERS, Account, Membership, Notice, TeamMembership, User
from portal.accounts.rights import is_reviewer
from portal.demo import pictures, vendors
from portal.demo.sandbox.samples import put_samples
from portal.foundation.database import database_now
from portal.ledger.actions import one_act

PASSWORD = "demo-password-1"
PEOPLE = {
    "dev@example.com": "Devi Developer",
    "dev2@example.com": "Dara Developer",
    "other-dev@example.com": "Otto Otherdev",
    "reviewer@example.com": "Rita Reviewer",
    "staff@example.com": "Stan Staff",
    "admin@acme.example": "Ada Admin",
    "agent@acme.example": "Axel Agent",
    "agent2@acme.example": "Ana Agent",
    "admin@globex.example": "Gus Globex",
    "agent@globex.example": "Gia Globex",
    "both@example.com": "Bea Both",
}
MEMBERS = [
    ("acme", "admin@acme.example", "admin"),
    ("acme", "agent@acme.example", "agent"),
    ("acme", "agent2@acme.example", "agent"),
    ("acme", "both@example.com", "admin"),
    ("globex", "admin@globex.example", "admin"),
    ("globex", "agent@globex.example", "agent"),
    ("globex", "both@example.com", "agent"),
]
TICKETS = "freshservice.tickets."
WHY = "Needed to tidy up duplicates that people report."
CLIENTS = {
    "Ticket Insights": (Kind.PLATFORM, Level.ACCOUNT, ["view", "edit", "create", "delete"]),
    "Reply Helper": (Kind.PLATFORM, Level.AGENT, ["view", "edit"]),
    "Shift Planner": (Kind.PLATFORM, Level.ACCOUNT, ["view", "create"]),
    "Acme Bridge": (Kind.PLATFORM, Level.ACCOUNT, ["view", "create", "edit"]),
    "Team Planner": (Kind.PLATFORM, Level.ACCOUNT, ["view", "edit"]),
    "Workflow Runner": (Kind.EXTERNAL, Level.ACCOUNT, ["view", "create", "edit"]),
    "Desk Companion": (Kind.EXTERNAL, Level.AGENT, ["view"]),
}
REDIRECT_URIS = ["http://127.0.0.1:9000/callback", "https://oauth.pstmn.io/v1/callback"]
# Nobody answers there: the sandbox stands for this product.
BASE_ADDRESS = "https://freshservice.example"
# Where Reply Helper’s own pages are, in the demo (portal/demo/app.py).
OWN_PAGES = "/sandbox/app/"


class Command(BaseCommand):
    help = "Fill the demo with people, accounts, apps and tickets. Running it again changes nothing."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print what a client program needs, as JSON")
        parser.add_argument("--rotate", action="store_true", help="make new client and product secrets, ending the old")

    @transaction.atomic
    def handle(self, *, rotate: Any, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("seed_demo makes people with a known password, so it runs with DEMO=1 only.")
        self.rotate = rotate
        self.client_secrets: dict[str, str] = {}
        self.product_secrets: dict[str, str] = {}
        is_new = not Notice.objects.exists()
        self.people = {email: self._person(email, name) for email, name in PEOPLE.items()}
        self._staff()
        self._accounts()
        self._product()
        self._clients()
        self._apps()
        self._app_with_vendors()
        self._tickets()
        if is_new:
            # Read long ago: the demo's mail begins with what visitors do.
            Notice.objects.update(told_at=database_now() - timedelta(days=2))
        answer = self._answer()
        if options["json"]:
            self.stdout.write(json.dumps(answer, indent=1))
            return
        for person in answer["people"]:
            self.stdout.write(f"{person['email']:28} {person['password']:22} {', '.join(person['roles'])}")

    def _person(self, email: str, name: str) -> Any:
        user = User.objects.filter(email=email).first()
        if user is None:
            user = people.create_person(email=email, name=name, password=None, by=None)
            user.password = self.hashed
            user.save(update_fields=["password"])
            if "dev" in email:
                teams.create_team(by=user)
        return user

    @cached_property
    def hashed(self) -> Any:
        """The password of them all, hashed once: it takes a quarter of a second, and is told to everybody."""
        return make_password(PASSWORD)

    def _staff(self) -> None:
        for email in ("reviewer@example.com", "staff@example.com"):
            user = self.people[email]
            user.is_staff, user.is_superuser = True, email.startswith("staff")
            user.save(update_fields=["is_staff", "is_superuser"])
        self.people["reviewer@example.com"].groups.add(Group.objects.get(name=REVIEWERS))

    def _accounts(self) -> None:
        for slug, name in (("acme", "Acme"), ("globex", "Globex")):
            if not Account.objects.filter(slug=slug).exists():
                accounts.create_account(slug=slug, name=name, by=self.people["staff@example.com"])
        for slug, email, role in MEMBERS:
            account = Account.objects.get(slug=slug)
            if not Membership.objects.filter(account=account, user=self.people[email]).exists():
                memberships.add_member(account, self.people[email], role=role, by=self.people["staff@example.com"])
        self.team = self._team("dev@example.com")
        if self.team.verified_at is None:
            teams.verify_team(self.team, by=self.people["staff@example.com"])
        if not TeamMembership.objects.filter(team=self.team, user=self.people["dev2@example.com"]).exists():
            teams.add_teammate(
                self.team, self.people["dev2@example.com"], role="member", by=self.people["dev@example.com"]
            )

    def _team(self, email: str) -> Any:
        return self.people[email].team_memberships.filter(role="owner").order_by("pk").first().team

    def _product(self) -> None:
        self.product, made = Product.objects.get_or_create(slug="freshservice", defaults={"name": "Freshservice"})
        if made:
            path = settings.BASE_DIR / "credentials" / "data" / "freshservice-openapi.json"
            import_document(self.product, json.loads(path.read_text()))
        if not self.product.base_address:
            self.product = credentials.set_base_address(self.product, base_address=BASE_ADDRESS, by=None)
        if made or self.rotate:
            self.product_secrets["freshservice"] = credentials.make_product_secret(self.product, by=None)

    def _clients(self) -> None:
        self.clients = {}
        for name, (kind, level, scopes) in CLIENTS.items():
            owner = "other-dev@example.com" if name == "Desk Companion" else "dev@example.com"
            team, by = self._team(owner), self.people[owner]
            client = Client.objects.filter(name=name, team=team).first()
            if client is None:
                client, secret = credentials.create_client(
                    team,
                    name=name,
                    description=f"{name} of the demo",
                    redirect_uris=[*REDIRECT_URIS, f"{settings.BASE_URL}{OWN_PAGES}callback"]
                    if name == "Reply Helper"
                    else REDIRECT_URIS,
                    scopes={TICKETS + scope: WHY if scope == "delete" else "" for scope in scopes},
                    kind=kind,
                    level=level,
                    by=by,
                )
                self.client_secrets[name] = secret
            elif self.rotate:
                self.client_secrets[name] = credentials.rotate_secret(client, overlap_hours=0, by=by)[1]
            self.clients[name] = client

    def _apps(self) -> None:
        if App.objects.filter(slug="ticket-insights").exists():
            return
        dev, reviewer = self.people["dev@example.com"], self.people["reviewer@example.com"]

        def version(app: App, number: str, required: Any, optional: Any = (), **texts: Any) -> Any:
            return publishing.create_version(
                app,
                by=dev,
                number=number,
                required_scopes=[TICKETS + name for name in required],
                optional_scopes=[TICKETS + name for name in optional],
                icon=pictures.icon(app.slug),
                screenshots=pictures.screenshots(app.slug),
                **texts,
            )

        def app(slug: str, name: str) -> Any:
            return publishing.create_app(self.team, slug=slug, client=self.clients[name], by=dev)

        def public(draft: Any) -> Any:
            submitted = publishing.submit_version(draft, by=dev)
            publishing.approve_version(submitted, by=reviewer)
            return publishing.publish_version(submitted, by=dev)

        insights = app("ticket-insights", "Ticket Insights")
        texts = {
            "name": "Ticket Insights",
            "category": "reporting",
            "tagline": "See what your service desk is busy with",
            "description": "Charts of **open tickets**, by age and priority.\n\n- a weekly summary\n- trends by team",
        }
        public(version(insights, "1.0", ["view"], release_notes="The first release.", **texts))
        self._install_on_test_account(insights)
        public(
            version(
                insights,
                "1.1",
                ["view", "edit"],
                ["delete"],
                release_notes="Sets priorities, and merges duplicates.",
                **texts,
            )
        )
        public(
            version(
                app("reply-helper", "Reply Helper"),
                "1.0",
                ["view"],
                ["edit"],
                name="Reply Helper",
                category="productivity",
                tagline="Drafts answers for you, as you",
                description="Suggests a reply to each ticket that is *yours*.",
                release_notes="The first release.",
                install_url=f"{settings.BASE_URL}{OWN_PAGES}install",
            )
        )
        publishing.submit_version(
            version(
                app("shift-planner", "Shift Planner"),
                "0.9",
                ["view", "create"],
                name="Shift Planner",
                category="hr",
                tagline="Who is on duty, and when",
                description="Plans shifts around the busiest hours.",
                release_notes="For review.",
            ),
            by=dev,
        )
        publishing.publish_custom(
            version(
                app("acme-bridge", "Acme Bridge"),
                "1.0",
                ["view", "create"],
                ["edit"],
                name="Acme Bridge",
                category="development",
                tagline="Acme’s own bridge to its build system",
                description="Made for Acme.",
                release_notes="The first release.",
            ),
            accounts={"acme"},
            by=dev,
        )

    def _install_on_test_account(self, app: App) -> None:
        """So that the next version has somebody to wait for."""
        dev, account = self.people["dev@example.com"], self.team.test_account
        with one_act():
            installing.install(app, account, by=dev)
        client = cast(Client, app.client)
        screen = build_screen(client, account, by=dev, now=database_now())
        grant_consent(client, account, by=dev, shown=screen.digest())

    def _app_with_vendors(self) -> None:
        """An app whose two vendors are processes of this machine, so there where it may call those."""
        if not settings.EGRESS_ALLOW_LOOPBACK or App.objects.filter(slug=vendors.SLUG).exists():
            return
        dev, client = self.people["dev@example.com"], self.clients["Team Planner"]
        app = publishing.create_app(self.team, slug=vendors.SLUG, client=client, by=dev)
        draft = publishing.create_version(
            app,
            by=dev,
            number="1.0",
            name="Team Planner",
            category="productivity",
            tagline="Tickets, calendar and boards in one plan",
            description="Plans the week of your team from its **tickets**, its calendar and everybody’s own board.",
            release_notes="The first release.",
            required_scopes=[],
            optional_scopes=[],
            icon=pictures.icon(vendors.SLUG),
            screenshots=pictures.screenshots(vendors.SLUG),
        )
        package = vendors.package(client, [f"{TICKETS}view"], [f"{TICKETS}edit"])
        packaging.take_package(draft, package, keep_secrets=True, by=dev)
        submitted = publishing.submit_version(draft, by=dev)
        publishing.approve_version(submitted, by=self.people["reviewer@example.com"])
        publishing.publish_version(submitted, by=dev)

    def _tickets(self) -> None:
        for account in Account.objects.filter(slug__in=["acme", "globex"], tickets=None).order_by("slug"):
            put_samples(account, 40)

    def _answer(self) -> dict[str, Any]:
        return {
            "people": [
                {
                    "email": email,
                    "password": PASSWORD,
                    "roles": self._roles(email),
                    "accounts": self._account_slugs(email),
                }
                for email in PEOPLE
            ],
            "clients": [
                {
                    "name": name,
                    "client_id": client.client_id,
                    "client_secret": self.client_secrets.get(name),
                    "kind": client.kind,
                    "level": client.level,
                    "redirect_uris": client.redirect_uris.split(),
                    "scopes": sorted(client.scope_names()),
                }
                for name, client in self.clients.items()
            ],
            "products": [{"slug": "freshservice", "secret": self.product_secrets.get("freshservice")}],
        }

    def _roles(self, email: str) -> list[Any]:
        roles = {role for _, member, role in MEMBERS if member == email}
        if "dev" in email.partition("@")[0]:
            roles.add("developer")
        user = self.people[email]
        if is_reviewer(user):
            roles.add("reviewer")
        return sorted(roles | ({"staff"} if user.is_staff else set()))

    def _account_slugs(self, email: str) -> list[Any]:
        return [slug for slug, member, _ in MEMBERS if member == email]
