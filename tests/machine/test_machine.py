"""Random sequences of all acts, against a simple model that shares no line with the portal.

Each step is one act, done in the model and in the portal; then truth.py compares the two. A failure prints the
sequence, shortened by hypothesis to what it takes; with `derandomize` it is the same one at each run.
"""

import copy

import pytest
from django.db import connection, transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from credentials.actions import make_product_secret
from credentials.models import Product
from tests.factories import CREATE, DELETE, EDIT, VIEW

from .cast import base
from .rules_of_people import DATA, RulesOfPeople
from .things import DAY, HOUR, MINUTE, No
from .truth import Truth
from .world import World

SCOPES = [VIEW, EDIT, DELETE, CREATE]
STEPS, EXAMPLES, SOAK_EXAMPLES = 30, 2, 60
some = st.sets(st.sampled_from(SCOPES), min_size=1)


def when(name):
    """Only once the model has some of these."""
    return precondition(lambda self: getattr(self.model, name))


class Machine(RulesOfPeople, RuleBasedStateMachine):
    def __init__(self, model, product_secret):
        super().__init__()
        self.world = World(copy.deepcopy(model))
        self.model = self.world.model
        self.undo = transaction.atomic()
        self.undo.__enter__()
        self.truth = Truth(self.world, product_secret)
        self.holds = False

    def teardown(self):
        try:
            if self.holds:
                self.truth.check_at_length()
        finally:
            transaction.set_rollback(True)
            self.undo.__exit__(None, None, None)

    @invariant()
    def the_portal_is_as_the_model(self):
        self.holds = False
        self.truth.check()
        self.holds = True

    # --- drawing ---

    def owner(self, consent):
        return [consent.member.person] if consent.member else self.admins(consent.account)

    def secret(self, data, client):
        """Mostly the client's newest, now and then an older one or another client's."""
        others = [secret for each in self.model.clients for secret in each.secrets]
        return self.one(data, client.secrets[-1:] * 20 + client.secrets + others, "secret")

    # --- credentials, apps and versions ---

    @precondition(lambda self: len(self.model.clients) < 8)
    @rule(external=st.booleans(), agent_level=st.booleans(), scopes=some, data=DATA)
    def create_client(self, external, agent_level, scopes, data):
        self.world.create_client(external, agent_level, scopes, self.by(data, self.developers))

    @rule(data=DATA, scopes=some)
    def add_scopes(self, data, scopes):
        client = self.one(data, self.model.clients, "client")
        self.world.add_scopes(client, scopes, self.by(data, self.developers))

    @rule(data=DATA, hours=st.sampled_from([0, 1, 168]))
    def rotate_or_end_secret(self, data, hours):
        client, by = self.one(data, self.model.clients, "client"), self.by(data, self.developers)
        if data.draw(st.booleans(), "end one"):
            self.world.end_secret(self.one(data, client.secrets, "secret"), by)
        else:
            self.world.rotate_secret(client, hours, by)

    @precondition(lambda self: len(self.model.apps) < 6)
    @rule(data=DATA)
    def create_app(self, data):
        self.world.create_app(self.one(data, [None, *self.model.clients], "client"), self.by(data, self.developers))

    @rule(data=DATA)
    def create_version(self, data):
        app = self.one(data, self.model.apps, "app")
        held = (app.client.scopes if app.client else set()) if data.draw(st.integers(0, 5), "beyond") else SCOPES
        required, optional = self.subset(data, held, "required"), self.subset(data, held, "optional")
        self.world.create_version(app, required, optional, self.by(data, self.developers))

    @rule(data=DATA)
    def move_version(self, data):
        """A step on its way: submit, take back, copy, approve, reject, publish, publish for chosen accounts, choose further ones."""
        version = self.one(data, [*self.model.versions, *self.model.versions[2:] * 3], "version")
        ways = {
            "draft": ["submit", "custom"],
            "in_review": ["approved", "approved", "rejected", "take_back"],
            "taken_back": ["copy"],
            "approved": ["publish"],
            "published": ["withdraw"],
        }
        way = self.one(
            data,
            ways.get(version.status, []) * 3
            + ["submit", "take_back", "copy", "approved", "publish", "custom", "list", "withdraw"],
            "way",
        )
        if way in ("approved", "rejected"):
            self.world.decide(version, way, self.by(data, self.reviewers))
            return
        by = self.by(data, self.developers)
        accounts = data.draw(st.sets(st.sampled_from(self.model.accounts), min_size=1), "accounts")
        if way == "custom":
            self.world.publish_custom(version, accounts, by)
        elif way == "list":
            self.world.list_accounts(version.app, accounts, by)
        else:
            getattr(self.world, way)(version, by)

    # --- installing and ending ---

    @rule(data=DATA)
    def install(self, data):
        app, account = self.one(data, self.model.apps, "app"), self.one(data, self.model.accounts, "account")
        self.world.install(app, account, self.by(data, self.admins(account)))

    @precondition(lambda self: len(self.model.versions) > 2)
    @rule(data=DATA)
    def install_draft(self, data):
        self.world.install_draft(
            self.one(data, self.model.versions[2:], "version"), self.by(data, self.model.team.owners)
        )

    @rule(data=DATA)
    def uninstall_or_discard(self, data):
        installation = self.one(data, self.model.installations, "installation")
        way = self.one(data, [self.world.uninstall, self.world.discard])
        way(installation, self.by(data, self.admins(installation.account)))

    def _step(self, data):
        """An installation and a version: mostly one that it can be moved to."""
        ways = [
            (installation, version)
            for installation in self.model.installations
            if not installation.ended
            and (version := self.model.installable(installation.app, installation.account))
            and version is not installation.version
        ]
        if ways and data.draw(st.integers(0, 5), "any where 0"):
            return self.one(data, ways, "step")
        return self.one(data, self.model.installations, "installation"), self.one(data, self.model.versions, "version")

    @when("installations")
    @rule(data=DATA)
    def upgrade(self, data):
        installation, version = self._step(data)
        by = self.by(data, self.admins(installation.account))
        self.world.upgrade(installation, version, by, self.subset(data, SCOPES, "chosen"))

    @when("installations")
    @rule(data=DATA)
    def publish_and_upgrade(self, data):
        """A version of an app that is installed, on all its way: so that there is what to move to."""
        app = self.one(data, [each.app for each in self.model.installations if not each.ended] or self.model.apps)
        held = app.client.scopes if app.client else set()
        developer = self.one(data, self.developers, "by")
        version = self.world.create_version(app, self.subset(data, held), self.subset(data, held), developer)
        if version and (version.required or version.optional):
            self.world.publish_custom(version, set(self.model.accounts), developer)
        for installation in self.model.installations:
            if installation.app is app and data.draw(st.booleans(), f"upgrade {installation}"):
                admins = self.admins(installation.account)
                by = self.by(data, admins)
                self.world.upgrade(installation, version, by, self.subset(data, held, "chosen"))

    @when("installations")
    @rule(data=DATA)
    def decline_or_leave_it_to_itself(self, data):
        installation, version = self._step(data)
        by = self.by(data, self.admins(installation.account))
        way = self.one(data, ["decline", "turn on", "turn on", "turn off", "work", "work"], "way")
        if way == "decline":
            self.world.decline_upgrade(installation, version, by)
        elif way == "work":
            self.world.upgrade_by_themselves()
        else:
            self.world.set_upgrades_itself(installation, way == "turn on", by)

    @precondition(lambda self: any(access.client.external for access in self.model.accesses))
    @rule(data=DATA)
    def end_external_access(self, data):
        access = self.one(data, [access for access in self.model.accesses if access.client.external], "access")
        self.world.end_access(access, self.by(data, self.admins(access.account)))

    # --- agreeing, and taking it back ---

    def _allowed(self):
        """Who may be asked by which client for which account."""
        self.model.now = self.world.now()
        for client in self.model.clients:
            for account in self.model.accounts:
                for person in self.model.people:
                    try:
                        self.model.screen(client, account, person)
                    except No:
                        continue
                    yield client, account, person

    def _asked(self, data):
        allowed = list(self._allowed())
        if allowed and data.draw(st.integers(0, 6), "anybody where 0"):
            return self.one(data, allowed, "client, account, person")
        return (
            self.one(data, self.model.clients, "client"),
            self.one(data, self.model.accounts, "account"),
            self.one(data, self.model.people, "person"),
        )

    def _agree(self, data, exchange=True, **more):
        client, account, person = self._asked(data)
        everything = data.draw(st.booleans(), "all scopes")
        requested = None if everything else self.subset(data, client.scopes, "requested") or None
        chosen = self.subset(data, SCOPES, "chosen")
        consent = self.world.agree(client, account, person, requested=requested, chosen=chosen, **more)
        if consent:
            wanted = consent.granted if requested is None else requested & consent.granted
            code = self.world.issue_code(consent, person, wanted)
            if code and exchange and data.draw(st.integers(0, 3), "leave the code where 0"):
                self.world.exchange(client.secrets[-1], code)

    @rule(data=DATA)
    def agree(self, data):
        self._agree(data)

    @rule(data=DATA)
    def agree_some_more(self, data):
        self._agree(data)

    @rule(data=DATA)
    def agree_with_prompt_consent(self, data):
        self._agree(data, again=True)

    @rule(data=DATA)
    def reauthorize(self, data):
        self._agree(data, replace=True)

    @rule(data=DATA)
    def decline(self, data):
        self.world.decline(*self._asked(data))

    def _consent(self, data):
        """Mostly one that lives."""
        self.model.now = self.world.now()
        living = [consent for consent in self.model.consents if consent.lives(self.model.now)]
        return self.one(data, living * 4 + self.model.consents, "consent")

    @when("consents")
    @rule(data=DATA)
    def authorize_without_a_screen(self, data):
        consent = self._consent(data)
        scopes = consent.granted if data.draw(st.booleans(), "all") else self.subset(data, SCOPES)
        self.world.issue_code(consent, self.by(data, self.owner(consent)), scopes)

    @when("consents")
    @rule(data=DATA)
    def trim(self, data):
        consent = self._consent(data)
        scopes = self.subset(data, consent.granted if data.draw(st.integers(0, 5), "beyond where 0") else SCOPES)
        self.world.trim(consent, scopes, self.by(data, self.owner(consent)))

    @when("consents")
    @rule(data=DATA)
    def revoke_consent(self, data):
        consent = self._consent(data)
        by = self.by(data, self.admins(consent.account) + self.owner(consent))
        self.world.revoke_consent(consent, by)

    @when("accesses")
    @rule(data=DATA)
    def revoke_for_all(self, data):
        agents = [consent.access for consent in self.model.consents if consent.member]
        access = self.one(data, agents * 4 + self.model.accesses, "access")
        self.world.revoke_for_all(access, self.by(data, self.admins(access.account)))

    @when("consents")
    @rule(data=DATA)
    def leave_it_to_a_successor(self, data):
        """Whoever agreed is no admin any more, where another is, who confirms it: mostly in this order."""
        consent = self._consent(data)
        account = consent.account
        if data.draw(st.booleans(), "somebody new"):
            person = self.world.sign_up(None)
            self.world.add_member(account, person, "admin", None)
        member = self.model.membership(account, consent.agreed_by)
        if member and data.draw(st.integers(0, 4), "stays where 0"):
            self.world.change_role(member, "agent", self.by(data, self.admins(account)))
        self.world.confirm(consent, self.by(data, self.admins(account)))

    # --- what apps do ---

    @when("codes")
    @rule(data=DATA)
    def exchange_a_code_or_replay_it(self, data):
        self.model.now = self.world.now()
        fresh = [code for code in self.model.codes if code.lives(self.model.now)]
        code = self.one(data, fresh * 4 + self.model.codes, "code")
        fits = bool(data.draw(st.integers(0, 6), "wrong verifier where 0"))
        self.world.exchange(self.secret(data, code.consent.client), code, fits)

    def _family(self, data):
        self.model.now = self.world.now()
        living = [family for family in self.model.families if family.lives(self.model.now)]
        return self.one(data, living * 4 + self.model.families, "family")

    @when("families")
    @rule(data=DATA, times=st.integers(1, 3))
    def refresh(self, data, times):
        family = self._family(data)
        for _time in range(times):
            self.world.refresh(self.secret(data, family.consent.client), family)

    @when("families")
    @rule(data=DATA)
    def refresh_for_some_scopes(self, data):
        family = self._family(data)
        scopes = self.subset(data, SCOPES) or None
        self.world.refresh(self.secret(data, family.consent.client), family, scopes=scopes)

    @precondition(lambda self: any(len(family.tokens) > 1 for family in self.model.families))
    @rule(data=DATA)
    def present_an_older_refresh_token(self, data):
        """The one before, two behind, or older: given again, refused, or reuse."""
        self.model.now = self.world.now()
        rotated = [family for family in self.model.families if len(family.tokens) > 1]
        living = [family for family in rotated if family.lives(self.model.now)]
        family = self.one(data, living * 4 + rotated, "family")
        behind = self.one(data, range(1, len(family.tokens)), "generations behind")
        scopes = data.draw(st.sampled_from([None, None, {VIEW}, {VIEW, CREATE}]), "scopes")
        self.world.refresh(self.secret(data, family.consent.client), family, -1 - behind, scopes)

    @rule(data=DATA)
    def client_credentials(self, data):
        level = [client for client in self.model.clients if not client.agent_level]
        client = self.one(data, level * 3 + self.model.clients, "client")
        account = self.one(data, self.model.accounts, "account")
        scopes = None if data.draw(st.booleans(), "all scopes") else self.subset(data, SCOPES) or None
        self.world.client_credentials(self.secret(data, client), account, scopes)

    @when("tokens")
    @rule(data=DATA)
    def give_back(self, data):
        thing = self.one(data, [*self.model.tokens, *self.model.families], "token or family")
        generation = self.one(data, range(-len(getattr(thing, "refresh", "1")), 0), "generation")
        self.world.give_back(self.secret(data, thing.consent.client), thing, generation)

    # --- time and the worker ---

    @rule(seconds=st.sampled_from([25, 61, 61]))
    def wait_a_moment(self, seconds):
        self.world.wait(seconds)

    @rule(seconds=st.sampled_from([31 * MINUTE, 2 * HOUR, DAY + HOUR, 8 * DAY, 200 * DAY, 366 * DAY]))
    def wait_long(self, seconds):
        self.world.wait(seconds)

    @rule()
    def let_the_worker_do_what_it_was_told(self):
        self.world.work()

    @rule()
    def lose_what_it_was_told_and_sweep(self):
        self.world.lose_messages()
        self.world.run("sweep")

    @rule(task=st.sampled_from(["expire", "erase", "sweep"]))
    def run_what_beat_sends(self, task):
        self.world.run(task)


@pytest.fixture
def start(db, caplog):
    """The model at the beginning, and what the product proves itself with."""
    # Each refusal is a warning, and a failure is to print the sequence alone.
    caplog.set_level("ERROR", "django.request")
    with connection.cursor() as cursor:
        # Planning the joins of a token's path takes longer than running them, on tables this small.
        cursor.execute("SET LOCAL join_collapse_limit = 1; SET LOCAL jit = off")
    return base(), make_product_secret(Product.objects.get(), by=None)


def run(start, **more):
    run_state_machine_as_test(
        lambda: Machine(*start),
        settings=settings(
            deadline=None, database=None, print_blob=True, suppress_health_check=list(HealthCheck), **more
        ),
    )  # fmt: skip


def test_whatever_people_apps_and_time_do_the_portal_is_as_the_model(start):
    run(
        start, derandomize=True, max_examples=EXAMPLES, stateful_step_count=STEPS, phases=[Phase.generate, Phase.shrink]
    )


@pytest.mark.soak
def test_the_same_for_thousands_of_steps_never_the_same_twice(start):
    run(start, max_examples=SOAK_EXAMPLES, stateful_step_count=100, phases=[Phase.generate])
