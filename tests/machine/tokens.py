"""The model's codes and tokens: what is issued, refused and ended, and what the worker does after an ending."""

from dataclasses import dataclass, field

from .things import DAY, MINUTE, Code, Family, No, Token


@dataclass(kw_only=True)
class Tokens:
    codes: list[Code] = field(default_factory=list)
    families: list[Family] = field(default_factory=list)
    tokens: list[Token] = field(default_factory=list)

    # --- issuing ---

    def issue_code(self, consent, by, scopes):
        member = self.membership(consent.account, by)
        if not member or consent.member not in (None, member) or (not consent.member and member.role != "admin"):
            raise No
        if not consent.lives(self.now) or not scopes or not scopes <= consent.granted:
            raise No
        return self.add(self.codes, Code(consent, set(scopes), self.now))

    def authenticate(self, secret):
        if secret.client.suspended_at is not None or self.now >= secret.ends:
            raise No("invalid_client")

    def exchange(self, secret, code, verifier_fits):
        self.authenticate(secret)
        if code.erased or code.consent.client is not secret.client or not verifier_fits:
            raise No("invalid_grant")
        if code.used:
            if code.family and not code.family.ended:
                self._reused(code.family)
            raise No("invalid_grant")
        if not code.lives(self.now) or not code.scopes:
            raise No("invalid_grant")
        code.used = True
        code.family = self.add(self.families, Family(code.consent, set(code.scopes), self.now, self.now))
        return self._token(code.consent, code.family, code.scopes)

    def _token(self, consent, family, scopes):
        token = self.add(self.tokens, Token(consent, family, set(scopes), self.now))
        if family:
            family.tokens.append(token)
        return token

    def _reused(self, family):
        family.ended = True
        self.tell(family.consent.account, "family.reuse_detected", family.consent.client, family)

    def refresh(self, secret, family, generation, scopes=None):
        """`generation` counts from 0; the last is the current one."""
        self.authenticate(secret)
        if family.consent.client is not secret.client or not family.lives(self.now):
            raise No("invalid_grant")
        behind = len(family.tokens) - 1 - generation
        since, before = self.now - family.current_made, self.now - family.previous_made
        if behind == 2 and before < MINUTE:
            raise No("invalid_grant")
        if behind > 1 or (behind == 1 and since > MINUTE):
            self._reused(family)
            raise No("invalid_grant")
        if behind == 0 and not family.scopes:
            raise No("invalid_grant")
        if scopes is not None and not scopes <= family.scopes:
            raise No("invalid_scope")
        if behind == 1:
            return family.tokens[-1]
        family.previous_made, family.current_made = family.current_made, self.now
        return self._token(family.consent, family, family.scopes if scopes is None else scopes)

    def standing(self, client, account):
        """The consent that client credentials stand on."""
        mine = [c for c in self.consents if c.client is client and c.account is account and c.member is None]
        return next((consent for consent in mine if consent.lives(self.now) and consent.granted), None)

    def client_credentials(self, secret, account, scopes=None):
        self.authenticate(secret)
        if secret.client.agent_level:
            raise No("unauthorized_client")
        consent = self.standing(secret.client, account)
        if consent is None:
            raise No("invalid_grant")
        if scopes is not None and not scopes <= consent.granted:
            raise No("invalid_scope")
        return self._token(consent, None, consent.granted if scopes is None else scopes)

    # --- ending ---

    def give_back(self, secret, thing):
        """A family, by any of its refresh tokens, or one access token."""
        self.authenticate(secret)
        if thing.consent.client is not secret.client:
            return
        if isinstance(thing, Token):
            if thing.revoked_at is None and not thing.erased:
                thing.revoked_at = self.now
        elif not thing.ended:
            thing.ended = True
            self.tell(thing.consent.account, "family.revoked", thing.consent.client, thing)

    def narrow(self, consent, scopes):
        for code in self.codes:
            if code.consent is consent and not code.used:
                code.scopes = code.scopes - scopes
        for family in self.families:
            if family.consent is consent and not family.ended:
                family.scopes = family.scopes - scopes
        for token in self.tokens:
            if token.consent is consent and token.revoked_at is None:
                token.scopes = token.scopes - scopes

    def what_ends(self, access):
        """What a receipt counts: what could still be used, or could be again were a suspension lifted."""
        consents = [c for c in self.consents if c.access is access and not c.revoked and self.now < c.expires]
        consents = [consent for consent in consents if not consent.member or consent.member.lives]
        since = access.client.not_before
        families = [f for f in self.families if f.consent in consents and not f.ended and f.made > since]
        tokens = [
            token
            for token in self.tokens
            if token.consent in consents and not token.erased and token.revoked_at is None and token.made > since
            and self.now < token.expires and not (token.family and token.family.ended)
        ]  # fmt: skip
        return {
            "consents": len(consents),
            "agents": len([consent for consent in consents if consent.member]),
            "refresh_tokens": len(families),
            "access_tokens": len(tokens),
        }

    # --- the worker ---

    def left_to_stamp(self):
        """What the sweep finds: accesses of which something ended that nobody cleaned up after."""
        ended = {access for access in self.accesses if access.ended and not access.stamped}
        return ended | {consent.access for consent in self.consents if consent.revoked and not consent.stamped}

    def work(self):
        """Do what Celery was told."""
        self._clean_up(self.queue)
        self.queue = set()

    def _clean_up(self, accesses):
        for access in sorted(accesses, key=lambda access: str(access.pk)):
            for consent in self.consents:
                if consent.access is access and (access.ended or consent.revoked) and not consent.stamped:
                    self._stamp(consent)
            if access.ended and not access.stamped and access.took_along:
                self.tell(access.account, "access.tokens_counted", None, access, **access.took_along)
            access.stamped = access.stamped or access.ended

    def _stamp(self, consent):
        consent.stamped = True
        for family in self.families:
            family.ended = family.ended or family.consent is consent
        for token in self.tokens:
            if token.consent is consent and token.revoked_at is None and self.now < token.expires:
                token.revoked_at = self.now

    def lose_messages(self):
        self.queue = set()

    def sweep(self):
        self.queue |= self.left_to_stamp()

    def expire(self):
        for consent in self.consents:
            if not consent.revoked and self.now >= consent.expires:
                consent.revoked = True
                self.queue.add(consent.access)
                self.tell(consent.account, "consent.expired", None, consent)

    def erase(self):
        self._clean_up(self.left_to_stamp())
        for token in self.tokens:
            over = self.now > token.expires + DAY or (
                token.revoked_at is not None and self.now > token.revoked_at + DAY
            )
            token.erased = token.erased or over
        for code in self.codes:
            code.erased = code.erased or self.now > code.made + MINUTE + DAY
