"""The portal's promises written again in plain Python, without any of the portal's code.

Each act of a person, an app or the worker is a method: it raises No where the rules refuse the act, and otherwise does
to the model what the portal is to do, and notes in `story` what the ledger is to say.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

from .people import People, need
from .things import DAY, HOUR, NEVER, Access, App, Client, Consent, Installation, Member, No, Secret, Version
from .tokens import Tokens

HIGH_RISK = {"freshservice.tickets.delete"}


class Event(NamedTuple):
    chain: object
    event: str
    actor: object
    about: object
    details: dict


@dataclass
class Screen:
    """What a person is asked: scopes that come with Agree, and others to choose from."""

    member: Member | None
    access: Access | None
    consent: Consent | None
    asked: set[str]
    new: set[str]
    offered: set[str]


@dataclass
class Model(People, Tokens):
    clients: list[Client] = field(default_factory=list)
    apps: list[App] = field(default_factory=list)
    versions: list[Version] = field(default_factory=list)
    installations: list[Installation] = field(default_factory=list)
    accesses: list[Access] = field(default_factory=list)
    consents: list[Consent] = field(default_factory=list)
    # Tasks queued and not done yet.
    queue: set[Access] = field(default_factory=set)
    # Which step of an installation was offered: whether it is to be taken by itself, and whether it was declined.
    itself: dict[tuple[Installation, Version, Version], bool] = field(default_factory=dict)
    declined: set[tuple[Installation, Version, Version]] = field(default_factory=set)
    story: list[Event] = field(default_factory=list)

    def tell(self, chain, event, by, about, **details):
        self.story.append(Event(chain, event, by or "system", about, details))

    def add(self, things, thing):
        things.append(thing)
        thing.name = thing.name or f"{type(thing).__name__.lower()} {len(things)}"
        return thing

    # --- credentials ---

    def create_client(self, external, agent_level, scopes, by):
        need(self.is_developer(by))
        client = self.add(self.clients, Client(self.team, external, agent_level, set(scopes)))
        self.tell(self.team, "client.created", by, client, scopes=sorted(scopes))
        client.secrets.append(Secret(client, self.now))
        return client

    def add_scopes(self, client, scopes, by):
        need(self.is_developer(by))
        if new := set(scopes) - client.scopes:
            client.scopes |= new
            self.tell(self.team, "client.scopes_added", by, client, scopes=sorted(new))

    def rotate_secret(self, client, hours, by):
        need(self.is_developer(by))
        active = [secret for secret in client.secrets if secret.ends > self.now]
        need(len(active) < 2 or hours == 0)
        for secret in active:
            secret.ends = min(secret.ends, self.now + hours * HOUR)
        client.secrets.append(Secret(client, self.now))
        self.tell(self.team, "client.secret_rotated", by, client, overlap_hours=hours)
        return client.secrets[-1]

    def end_secret(self, secret, by):
        need(self.is_developer(by) and self.now < secret.ends < NEVER)
        secret.ends = self.now
        self.tell(self.team, "client.secret_ended", by, secret.client)

    def suspend_client(self, client, by):
        need(by.active and by.reviewer and client.suspended_at is None)
        client.suspended_at = self.now
        for chain in (self.team, "portal"):
            self.tell(chain, "client.suspended", by, client)

    def lift_client(self, client, leaked, by):
        need(by.active and by.reviewer and client.suspended_at is not None)
        if leaked:
            client.not_before = self.now
            for secret in client.secrets:
                if secret.made <= client.suspended_at:
                    secret.ends = min(secret.ends, self.now)
        client.suspended_at = None
        for chain in (self.team, "portal"):
            self.tell(chain, "client.lifted", by, client, secret_leaked=leaked)

    # --- apps and versions ---

    def create_app(self, client, by):
        need(self.is_developer(by))
        if client:
            need(not client.external and not any(app.client is client for app in self.apps))
        app = self.add(self.apps, App(self.team, client))
        self.tell(self.team, "app.created", by, app)
        if client:
            self.tell(self.team, "app.client_set", by, app)
        return app

    def next_number(self, app):
        return 1 + max((version.number for version in self.versions if version.app is app), default=0)

    def create_version(self, app, required, optional, by):
        need(self.is_developer(by))
        need(set(required) | set(optional) <= (app.client.scopes if app.client else set()))
        version = Version(app, self.next_number(app), set(required), set(optional) - set(required))
        self.tell(self.team, "version.created", by, self.add(self.versions, version))
        return version

    def _ready(self, version, by):
        need(self.is_developer(by) and version.status == "draft" and version.app.client and version.scopes)
        self._number_is_higher(version)

    def _number_is_higher(self, version):
        others = [v for v in self.versions if v.app is version.app and v.status != "taken_back"]
        judged = [other for other in others if other.status not in ("draft", "snapshot")]
        need(all(other.number < version.number for other in judged))

    def submit(self, version, by):
        self._ready(version, by)
        version.status, version.public = "in_review", True
        self.tell(self.team, "version.submitted", by, version)

    def take_back(self, version, by):
        need(self.is_developer(by) and version.status == "in_review")
        version.status = "taken_back"
        self.tell(self.team, "version.taken_back", by, version)

    def copy(self, version, by):
        need(self.is_developer(by) and version.status == "taken_back")
        drafts = [v for v in self.versions if v.app is version.app and v.status == "draft"]
        need(all(draft.number != version.number for draft in drafts))
        self._number_is_higher(version)
        made = Version(version.app, version.number, {*version.required}, {*version.optional})
        self.tell(self.team, "version.created", by, self.add(self.versions, made))
        return made

    def decide(self, version, decision, by):
        need(by.active and by.reviewer and not self.teammate(by) and version.status == "in_review")
        version.status = decision
        for chain in (self.team, "portal"):
            self.tell(chain, f"version.{decision}", by, version)

    def publish(self, version, by):
        need(self.is_developer(by) and version.status == "approved")
        self._publish(version, by)

    def _custom(self, app):
        return [v for v in self.versions if v.app is app and v.status == "published" and not v.public]

    def publish_custom(self, version, accounts, by):
        self._ready(version, by)
        need(len(self._custom(version.app)) < 3)
        version.app.custom |= set(accounts)
        self._publish(version, by, accounts=sorted(account.ref for account in accounts))

    def list_accounts(self, app, accounts, by):
        custom = self._custom(app)
        need(self.is_developer(by) and custom)
        app.custom |= set(accounts)
        self._offer(max(custom, key=lambda version: version.published))
        self.tell(self.team, "app.accounts_listed", by, app, accounts=sorted(account.ref for account in accounts))

    def _publish(self, version, by, **details):
        version.status = "published"
        version.published = 1 + max(each.published for each in self.versions)
        self._offer(version)
        self.tell(self.team, "version.published", by, version, **details)

    def withdraw(self, version, by):
        need(self.is_developer(by) and version.status == "published")
        version.status = "withdrawn"
        self.tell(self.team, "version.withdrawn", by, version)

    # --- installing and ending ---

    def installable(self, app, account):
        """The newest published version that an account may have."""
        published = [v for v in self.versions if v.app is app and v.status == "published"]
        allowed = [v for v in published if v.public or account in app.custom]
        return max(allowed, key=lambda version: version.published, default=None)

    def live_installation(self, app, account):
        return next((i for i in self.installations if i.app is app and i.account is account and not i.ended), None)

    def live_access(self, client, account):
        return next((a for a in self.accesses if a.client is client and a.account is account and not a.ended), None)

    def _check_install(self, app, account, by):
        need(self.is_admin(account, by) and not account.suspended and app.client and app.client.suspended_at is None)

    def install(self, app, account, by):
        version = self.installable(app, account)
        need(version and not self.live_installation(app, account))
        self._check_install(app, account, by)
        return self._install(version, account, by)

    def install_draft(self, version, account, by):
        need(self.is_developer(by) and version.status == "draft" and version.app.client and version.scopes)
        self._check_install(version.app, account, by)
        snapshot = Version(version.app, version.number, version.required, version.optional, "snapshot")
        if live := self.live_installation(version.app, account):
            self.uninstall(live, by)
        return self._install(snapshot, account, by)

    def _install(self, version, account, by):
        access = Access(version.app.client, account, set(version.required), set(version.optional))
        self._open(access, by)
        installation = self.add(self.installations, Installation(account, version.app, version, access))
        self.tell(account, "installation.installed", by, installation)
        return installation

    def _open(self, access, by):
        self.add(self.accesses, access)
        terms = {"required": sorted(access.required), "optional": sorted(access.optional)}
        self.tell(access.account, "access.opened", by, access, **terms)

    # --- other versions of what is installed ---

    def _offer(self, version):
        for installation in self.installations:
            step = (installation, installation.version, version)
            if self._is_for(version, installation) and installation.version.status != "snapshot":
                self.itself.setdefault(step, self._goes_by_itself(installation, version))

    def _is_for(self, version, installation):
        there = not installation.ended and not installation.account.suspended and installation.version is not version
        return there and self.installable(installation.app, installation.account) is version

    def _goes_by_itself(self, installation, version):
        """Where it is turned on, and the version asks for nothing that was not agreed to."""
        old, access = installation.version, installation.access
        raised = version.required & old.optional
        agreed = [c for c in self.consents if c.access is access and c.member is None and c.lives(self.now)]
        known = not raised or any(raised <= consent.granted for consent in agreed)
        reviewed = version.public or not old.public
        return installation.upgrades_itself and version.scopes <= old.scopes and known and reviewed

    def _check_upgrade(self, installation, version):
        need(self._is_for(version, installation) and installation.app.client.suspended_at is None)

    def upgrade(self, installation, version, by, chosen=()):
        need(self.is_admin(installation.account, by))
        self._check_upgrade(installation, version)
        self._change_terms(installation, version, by)
        client, account = installation.app.client, installation.account
        if not client.agent_level:
            screen = self.screen(client, account, by)
            if screen.new or screen.offered:
                self.agree(client, account, by, chosen=chosen)
        self._move(installation, version, by)

    def upgrade_by_themselves(self):
        """What workers do of it."""
        for step, goes in list(self.itself.items()):
            installation, old, version = step
            # One that is not the newest any more waits: it may be again, should that one be withdrawn.
            theirs = installation.version is old and self._is_for(version, installation)
            if not goes or not theirs or step in self.declined:
                continue
            try:
                self._check_upgrade(installation, version)
            except No:
                self.itself[step] = False
                continue
            if self._goes_by_itself(installation, version):
                self._change_terms(installation, version, None)
                self._move(installation, version, None)
            else:
                self.itself[step] = False

    def _change_terms(self, installation, version, by):
        access = installation.access
        removed, raised = access.required | access.optional, version.required - access.required
        removed -= version.scopes
        for consent in self.consents:
            if consent.access is access and not consent.revoked:
                consent.granted -= removed
                consent.left_off -= removed | raised
                consent.trimmed -= removed | raised
                self.narrow(consent, removed)
        access.required, access.optional = set(version.required), set(version.optional)
        terms = {"required": sorted(access.required), "optional": sorted(access.optional)}
        self.tell(access.account, "access.terms_changed", by, access, removed=sorted(removed), **terms)

    def _move(self, installation, version, by):
        installation.version = version
        self.tell(installation.account, "installation.upgraded", by, installation)

    def decline_upgrade(self, installation, version, by):
        need(self.is_admin(installation.account, by))
        self._check_upgrade(installation, version)
        step = (installation, installation.version, version)
        if step not in self.declined:
            self.declined.add(step)
            self.tell(installation.account, "installation.upgrade_declined", by, installation)

    def set_upgrades_itself(self, installation, on, by):
        need(self.is_admin(installation.account, by) and not installation.ended)
        if installation.upgrades_itself != on:
            installation.upgrades_itself = on
            self.tell(
                installation.account, "installation.upgrades_itself_changed", by, installation, upgrades_itself=on
            )

    def uninstall(self, installation, by, event="installation.uninstalled"):
        need(self.is_admin(installation.account, by) and not installation.ended)
        installation.ended = True
        self.end_access(installation.access, by)
        self.tell(installation.account, event, by, installation)

    def discard(self, installation, by):
        access = installation.access
        need(not access.client.agent_level and not any(consent.access is access for consent in self.consents))
        self.uninstall(installation, by, "installation.discarded")

    def end_access(self, access, by):
        need(self.is_admin(access.account, by) and not access.ended)
        counts = self.what_ends(access)
        agreements = {name: counts.pop(name) for name in ("consents", "agents")}
        access.ended, access.took_along = True, counts if agreements["consents"] else None
        self.queue.add(access)
        self.tell(access.account, "access.ended", by, access, **agreements)

    # --- agreeing, and taking it back ---

    def screen(self, client, account, by, requested=None, again=False, replace=False):
        member, access = self.membership(account, by), self.live_access(client, account)
        need(member and not account.suspended and client.suspended_at is None)
        need(client.agent_level or member.role == "admin")
        if client.external:
            risky = not self.team.verified and account.test_of is not self.team
            grantable = client.scopes - (HIGH_RISK if risky else set())
        else:
            need(access)
            grantable = access.required | access.optional
        asked = grantable if requested is None else set(requested)
        need(asked <= grantable)
        own = member if client.agent_level else None
        mine = [c for c in self.consents if c.access is access and c.member is own and not c.revoked]
        consent = next((c for c in mine if self.now < c.expires), None)
        required = asked if client.external else access.required
        had = consent.granted if consent and not replace else set()
        refused = consent.left_off | consent.trimmed if consent and not again and not replace else set()
        new = required - had - refused
        return Screen(own, access, consent, asked, new, asked - required - had - refused)

    def agree(self, client, account, by, requested=None, chosen=(), again=False, replace=False):
        screen = self.screen(client, account, by, requested, again, replace)
        new = screen.new | (screen.offered & set(chosen))
        access, consent = screen.access, screen.consent
        if access is None:
            access = Access(client, account)
            self._open(access, by)
        expires = self.now + 365 * DAY
        if consent and not replace:
            consent.granted |= new
            consent.left_off = (consent.left_off | screen.offered) - consent.granted
            consent.trimmed -= consent.granted
            consent.expires, event = expires, "consent.widened" if new else "consent.renewed"
        else:
            event = "consent.replaced" if consent else "consent.granted"
            for old in self.consents:
                if old.access is access and old.member is screen.member and not old.revoked:
                    if old is not consent:
                        self.tell(account, "consent.expired", None, old)
                    old.revoked = True
            consent = Consent(access, screen.member, new, screen.offered - new, expires)
            self.add(self.consents, consent)
        consent.agreed_by = by
        self.queue.add(access)
        self.tell(
            account, event, by, consent, granted=sorted(consent.granted), left_off=sorted(consent.left_off)
        )  # fmt: skip
        return consent

    def decline(self, client, account, by):
        need(self.membership(account, by))
        self.tell(account, "consent.declined", by, client)

    def _check_own(self, consent, by, an_admin_too):
        own = consent.member and consent.member.person is by and consent.member.lives
        need(own or (an_admin_too and self.is_admin(consent.account, by)))
        need(not consent.revoked and not consent.access.ended and self.now < consent.expires)

    def trim(self, consent, scopes, by):
        self._check_own(consent, by, an_admin_too=consent.member is None)
        need(scopes and scopes <= consent.granted)
        consent.granted, consent.trimmed = consent.granted - scopes, consent.trimmed | scopes
        self.narrow(consent, scopes)
        self.tell(
            consent.account, "consent.trimmed", by, consent, trimmed=sorted(scopes), granted=sorted(consent.granted)
        )  # fmt: skip

    def revoke_consent(self, consent, by):
        self._check_own(consent, by, an_admin_too=True)
        consent.revoked = True
        self.queue.add(consent.access)
        self.tell(consent.account, "consent.revoked", by, consent)

    def revoke_for_all(self, access, by):
        need(self.is_admin(access.account, by) and not access.ended)
        counts = self.what_ends(access)
        need(counts["agents"])
        for consent in self.consents:
            if consent.access is access and consent.member and not consent.revoked and self.now < consent.expires:
                consent.revoked = True
        self.queue.add(access)
        self.tell(access.account, "consent.revoked_for_all", by, access, **counts)

    def confirm(self, consent, by):
        """Once nobody who agreed to it, or confirmed it, is an admin of the account any more."""
        account = consent.account
        need(self.is_admin(account, by) and consent.member is None and consent.lives(self.now))
        need(not any(self.is_admin(account, person) for person in (consent.agreed_by, consent.confirmed_by) if person))
        consent.confirmed_by = by
        self.tell(account, "consent.confirmed", by, consent, granted=sorted(consent.granted))
