"""The model beside the portal. Every method is one act, at one moment."""

from types import SimpleNamespace

from django.test import TestCase

from consent import tasks
from consent.actions import ending, granting, issuing, succeeding
from consent.models import Consent
from consent.reasons import AccessEnd
from consent.succession import statement_of
from credentials import actions as credentials
from credentials import secrets
from marketplace import tasks as marketplace_tasks
from marketplace.actions import installing, publishing, upgrading
from marketplace.models import Offer
from portal.celery import app as celery
from portal.foundation.refusals import Refused
from tests import factories
from tests.oauth import AppSide, pkce

from . import things
from .beside import messages, name, row
from .world_of_people import WorldOfPeople


class World(WorldOfPeople):
    # --- credentials ---

    def create_client(self, external, agent_level, scopes, by):
        def portal():
            return credentials.create_client(
                row(self.model.team), name="C", redirect_uris=[factories.REDIRECT_URI],
                scopes=dict.fromkeys(scopes, "We need it"), kind="external" if external else "platform",
                level="agent" if agent_level else "account", by=row(by),
            )  # fmt: skip

        if done := self.act("create_client", portal, external, agent_level, scopes, by):
            client, (made, value) = done
            name(client, made)
            self._name_secret(client.secrets[0], made.secrets.get(), value)
            return client
        return None

    def _name_secret(self, secret, found, value):
        name(secret, found).value = value
        secret.name = f"secret {len(secret.client.secrets)} of {secret.client.name}"

    def add_scopes(self, client, scopes, by):
        wanted = dict.fromkeys(scopes, "We need it")
        self.act(
            "add_scopes", lambda: credentials.add_scopes(row(client), scopes=wanted, by=row(by)), client, scopes, by
        )

    def rotate_secret(self, client, hours, by):
        def portal():
            return credentials.rotate_secret(row(client), overlap_hours=hours, by=row(by))

        if done := self.act("rotate_secret", portal, client, hours, by):
            self._name_secret(done[0], *done[1])

    def end_secret(self, secret, by):
        self.act("end_secret", lambda: credentials.end_secret(row(secret), by=row(by)), secret, by)

    def suspend_client(self, client, by):
        portal = credentials.suspend_client
        self.act("suspend_client", lambda: portal(row(client), reason="Why", by=row(by)), client, by)

    def lift_client(self, client, leaked, by):
        def portal():
            return credentials.lift_client(row(client), reason="Why", secret_leaked=leaked, by=row(by))

        self.act("lift_client", portal, client, leaked, by)

    # --- apps and versions ---

    def create_app(self, client, by):
        slug = f"app-{next(factories._numbers)}"

        def portal():
            return publishing.create_app(row(self.model.team), client=row(client), by=row(by), slug=slug)

        return self.make("create_app", portal, client, by)

    def create_version(self, app, required, optional, by):
        fields = factories.version_fields(
            f"1.{self.model.next_number(app)}", required_scopes=sorted(required), optional_scopes=sorted(optional),
            install_url="https://app.example/install",
        )  # fmt: skip

        def portal():
            return publishing.create_version(row(app), by=row(by), **fields)

        return self.make("create_version", portal, app, required, optional, by)

    def submit(self, version, by):
        self.act("submit", lambda: publishing.submit_version(row(version), by=row(by)), version, by)

    def take_back(self, version, by):
        self.act("take_back", lambda: publishing.take_back_version(row(version), by=row(by)), version, by)

    def copy(self, version, by):
        return self.make("copy", lambda: publishing.copy_version(row(version), by=row(by)), version, by)

    def decide(self, version, decision, by):
        portal = {"approved": publishing.approve_version, "rejected": publishing.reject_version}[decision]
        self.act("decide", lambda: portal(row(version), reason="Why", by=row(by)), version, decision, by)

    def publish(self, version, by):
        self.act("publish", lambda: publishing.publish_version(row(version), by=row(by)), version, by)

    def publish_custom(self, version, accounts, by):
        slugs = {account.ref for account in accounts}

        def portal():
            return publishing.publish_custom(row(version), accounts=slugs, by=row(by))

        self.act("publish_custom", portal, version, accounts, by)

    def list_accounts(self, app, accounts, by):
        slugs = {account.ref for account in accounts}

        def portal():
            return publishing.list_accounts(row(app), accounts=slugs, by=row(by))

        self.act("list_accounts", portal, app, accounts, by)

    # --- installing and ending ---

    def _name_installation(self, done):
        if done:
            installation = name(*done)
            name(installation.access, done[1].access)
            name(installation.version, done[1].version)
            return installation
        return None

    def install(self, app, account, by):
        def portal():
            return installing.install(row(app), row(account), by=row(by))

        return self._name_installation(self.act("install", portal, app, account, by))

    def install_draft(self, version, by):
        def portal():
            return installing.install_draft(row(version), by=row(by))

        test = next(account for account in self.model.accounts if account.test_of)
        return self._name_installation(self.act("install_draft", portal, version, test, by))

    def withdraw(self, version, by):
        portal = publishing.withdraw_version
        self.act("withdraw", lambda: portal(row(version), reason="Why", by=row(by)), version, by)

    def upgrade(self, installation, version, by, chosen):
        def portal():
            here, there, admin = row(installation), row(version), row(by)
            try:
                step = upgrading.step_to(here, there, by=admin)
            except Refused:
                # Who may not agree has no screen; what is theirs to press is refused too.
                return upgrading.upgrade(here, there, by=admin)
            shown = step.screen.digest() if step.screen else ""
            return upgrading.upgrade(here, there, by=admin, shown=shown, chosen=chosen)

        before = len(self.model.consents)
        if self.act("upgrade", portal, installation, version, by, chosen):
            for agreed in self.model.consents[before:]:
                name(agreed, Consent.objects.get(access=installation.access.pk, revoked_at=None))

    def decline_upgrade(self, installation, version, by):
        portal = upgrading.decline_upgrade
        self.act(
            "decline_upgrade", lambda: portal(row(installation), row(version), by=row(by)), installation, version, by
        )

    def set_upgrades_itself(self, installation, on, by):
        portal = upgrading.set_upgrades_itself
        self.act("set_upgrades_itself", lambda: portal(row(installation), on=on, by=row(by)), installation, on, by)

    def upgrade_by_themselves(self):
        def portal():
            for offer in Offer.objects.pending().filter(kind="itself").order_by("pk"):
                marketplace_tasks.upgrade_itself(offer.pk)

        self.act("upgrade_by_themselves", portal)

    def uninstall(self, installation, by):
        self.act("uninstall", lambda: installing.uninstall(row(installation), by=row(by)), installation, by)

    def discard(self, installation, by):
        self.act("discard", lambda: installing.discard(row(installation), by=row(by)), installation, by)

    def end_access(self, access, by):
        self.act("end_access", lambda: ending.end_access(row(access), by=row(by), reason=AccessEnd.REVOKED), access, by)

    # --- agreeing, and taking it back ---

    def agree(self, client, account, by, *, requested=None, chosen=(), again=False, replace=False):
        def portal():
            return factories.agree(
                row(client), row(account), row(by), requested=requested, chosen=chosen, ask_again=again, replace=replace
            )  # fmt: skip

        asked = {"requested": requested, "chosen": chosen, "again": again, "replace": replace}
        if done := self.act("agree", portal, client, account, by, **asked):
            agreed = name(*done)
            name(agreed.access, done[1].access)
            return agreed
        return None

    def issue_code(self, agreed, by, scopes):
        verifier, challenge = pkce()

        def portal():
            return issuing.issue_code(
                row(agreed), by=row(by), scopes=scopes, redirect_uri=factories.REDIRECT_URI, code_challenge=challenge
            )  # fmt: skip

        if done := self.act("issue_code", portal, agreed, by, scopes):
            code, code.value = done
            code.verifier = verifier
            return code
        return None

    def decline(self, client, account, by):
        portal = granting.decline_consent
        self.act("decline", lambda: portal(row(client), row(account), by=row(by)), client, account, by)

    def trim(self, agreed, scopes, by):
        self.act("trim", lambda: ending.trim_consent(row(agreed), scopes=scopes, by=row(by)), agreed, scopes, by)

    def revoke_consent(self, agreed, by):
        self.act("revoke_consent", lambda: ending.revoke_consent(row(agreed), by=row(by)), agreed, by)

    def revoke_for_all(self, access, by):
        self.act("revoke_for_all", lambda: ending.revoke_for_all(row(access), by=row(by)), access, by)

    def confirm(self, agreed, by):
        def portal():
            found, admin = row(agreed), row(by)
            return succeeding.confirm_consent(found, by=admin, shown=statement_of(found, admin).digest())

        self.act("confirm", portal, agreed, by)

    # --- what apps ask of the endpoints ---

    def side(self, secret):
        return AppSide(self.http, SimpleNamespace(client_id=secret.client.ref), secret.value)

    def endpoint(self, name_of_act, ask, *arguments):
        """Ask an endpoint; compare status and error, and return the model's token and the answer where it was given."""
        self.model.now = self.now()
        error, thing = None, None
        try:
            thing = getattr(self.model, name_of_act)(*arguments)
        except things.No as no:
            error = no.error
        with TestCase.captureOnCommitCallbacks(execute=True):
            response = ask()
        answer = response.json() if response.content else {}
        status = 401 if error == "invalid_client" else 400 if error else 200
        assert (response.status_code, answer.get("error")) == (status, error), (name_of_act, answer)
        return thing, answer

    def _tokens(self, token, answer):
        """Compare an answer with the token that the model gives, and take over what was handed out."""
        if token is None:
            return None
        agreed = token.consent
        platform = not agreed.client.external
        installation = next((i for i in self.model.installations if i.access is agreed.access), None)
        expected = {
            "token_type": "Bearer",
            "scope": " ".join(sorted(token.scopes)),
            "account": agreed.account.ref,
            **({"installation": installation.ref} if platform else {}),
            **({"agent": str(agreed.member.pk)} if agreed.member else {}),
        }
        left = token.expires - self.model.now
        assert left - 3 <= answer.pop("expires_in") <= left, "the seconds it has left"
        value, refresh = answer.pop("access_token"), answer.pop("refresh_token", None)
        assert answer == expected
        assert bool(refresh) == bool(token.family)
        again = bool(token.value)
        assert not again or value == token.value, "the same pair again"
        token.value = value
        if refresh and not again:
            assert refresh not in token.family.refresh
            token.family.refresh.append(refresh)
        assert not refresh or refresh == token.family.refresh[-1]
        return token

    def exchange(self, secret, code, verifier_fits=True):
        verifier = code.verifier if verifier_fits else pkce()[0]

        def ask():
            return self.side(secret).exchange(code.value, verifier)

        token = self._tokens(*self.endpoint("exchange", ask, secret, code, verifier_fits))
        if token:
            family = secrets.read_refresh_token(token.family.refresh[0]).family
            name(token.family, SimpleNamespace(pk=family))
        return token

    def refresh(self, secret, family, generation=-1, scopes=None):
        generation %= len(family.refresh)
        more = {} if scopes is None else {"scope": " ".join(sorted(scopes))}

        def ask():
            return self.side(secret).refresh(family.refresh[generation], **more)

        return self._tokens(*self.endpoint("refresh", ask, secret, family, generation, scopes))

    def client_credentials(self, secret, account, scopes=None):
        more = {} if scopes is None else {"scope": " ".join(sorted(scopes))}

        def ask():
            return self.side(secret).client_credentials(account.ref, **more)

        return self._tokens(*self.endpoint("client_credentials", ask, secret, account, scopes))

    def give_back(self, secret, thing, generation=-1):
        value = thing.value if isinstance(thing, things.Token) else thing.refresh[generation % len(thing.refresh)]
        self.endpoint("give_back", lambda: self.side(secret).revoke(value), secret, thing)

    # --- time and the worker ---

    def run(self, task):
        """Run one of beat's tasks in this process."""
        self.act(task, getattr(tasks, task))

    def work(self):
        """Be the worker: run what Redis holds, which is what the model's queue holds."""
        found = sorted(messages())
        expected = {str(access.pk) for access in self.model.queue}
        assert {argument for _task, (argument,) in found} == expected, "what Celery was told"
        self.act("work", lambda: [celery.tasks[task](*arguments) for task, arguments in found])

    def lose_messages(self):
        list(messages())
        self.model.lose_messages()
