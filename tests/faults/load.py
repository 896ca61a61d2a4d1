"""A steady load on the portal: who installs, refreshes and uninstalls, and who checks meanwhile. Every answer is recorded.

A request needs some things to be good, may start some, and may end some; the checker (checker.py) judges each answer by these
alone. Each account has one thread that changes things and one that checks: what the first was told is what is true.
"""

import hashlib
import random
import re
import threading
import time
from collections import deque
from http.client import HTTPException
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx

from tests.browsing import Browser
from tests.oauth import pkce
from tests.servers import Http

# In seconds. An answer that takes longer counts as none.
GIVE_UP = 40
# Between two requests of one thread, and before it tries again what failed.
PAUSE, AGAIN = 0.3, 0.5
# Much less than the 60 seconds for which the portal answers a repeated refresh alike (T6).
PATIENCE = 40
ACCEPTED, REFUSED, FAILED, LOST = "accepted", "refused", "failed", "lost"


def name_of(value):
    """Name a token in the record without telling it."""
    return "token " + hashlib.sha256(value.encode()).hexdigest()[:20]


class Asking:
    """Asks the portal on behalf of one thread, and records it."""

    def __init__(self, load, who):
        self.load, self.who, self.number = load, who, 0

    def ask(self, what, send, judge, *, needs=(), ends=(), writes=True):
        """Send a request; return (verdict, what `judge` found in the answer).

        `judge(answer)` returns (is accepted, {what it starts: for how many seconds or None}, what was found).
        """
        line = {
            "kind": "answer",
            "fault": self.load.fault,
            "who": self.who,
            "ask": what,
            "needs": [*needs],
            "ends": [*ends],
        }
        sent, found, starts = time.monotonic(), None, {}
        try:
            answer = send()
        except (OSError, HTTPException, httpx.HTTPError) as error:
            verdict, told = LOST, {"error": f"{type(error).__name__}: {error}"}
        else:
            status = getattr(answer, "status", None) or answer.status_code
            told = {"status": status}
            if status >= 500 or status == 429:
                verdict, told["retry_after"] = FAILED, answer.headers.get("Retry-After")
            else:
                is_accepted, starts, found = judge(answer)
                verdict = ACCEPTED if is_accepted else REFUSED
        self.load.record.write(
            **line, sent=sent, received=time.monotonic(), verdict=verdict, starts=starts, writes=writes, **told
        )
        return verdict, found


class Account(Asking):
    """Installs, connects, refreshes and uninstalls, again and again, each step until it is settled."""

    def __init__(self, load, number, slug, session):
        super().__init__(load, f"account {number}")
        self.slug = slug
        self.person = Browser(f"http://127.0.0.1:{load.port}")
        self.person.timeout = GIVE_UP
        self.person.cookies.set("sessionid", session)
        self.http = None
        # Those that were told lately, whatever became of them: (token, what it needs).
        self.tokens = deque(maxlen=20)
        self.random = random.Random(number)

    def run(self):
        while not self.load.is_over.is_set():
            self.number += 1
            self.live = f"{self.who} installation {self.number}"
            self.free = f"{self.who} free for {self.number}"
            self.after = f"{self.who} free for {self.number + 1}"
            pk = self.install()
            if pk:
                self.use()
                self.uninstall(pk)

    def settle(self, step):
        """Take a step until it was accepted or refused; return what was found if it was accepted."""
        while not self.load.is_over.wait(PAUSE):
            verdict, found = step()
            if verdict in (ACCEPTED, REFUSED):
                return found if verdict == ACCEPTED else None
            self.http = None
            self.load.is_over.wait(AGAIN)
        return None

    # --- as a person ---

    def page(self, path):
        """Open a page that must be there."""
        return self.settle(
            lambda: self.ask(
                "page", lambda: self.person.get(path), lambda page: (page.status_code == 200, {}, page), writes=False
            )
        )

    def press(self, what, page, judge, *, needs, ends=(), **fields):
        """Press a button until it is settled. The form says that it is the same one, so it acts once."""

        def send():
            return self.person.submit(page, _follow=False, **fields)

        return page and self.settle(lambda: self.ask(what, send, judge, needs=needs, ends=ends))

    def install(self):
        def judge(page):
            found = re.fullmatch(r"/installations/([0-9a-f-]{36})/connect/", page.headers.get("Location", ""))
            return bool(found), {self.live: None, "pk " + found[1]: None} if found else {}, found and found[1]

        page = self.page(f"/marketplace/{self.load.seeded['app']}/install/")
        return self.press("install", page, judge, needs=[self.free], ends=[self.free], account=self.slug)

    def uninstall(self, pk):
        def judge(page):
            is_done = page.headers.get("Location", "") == f"/installations/{pk}/"
            return is_done, {self.after: None} if is_done else {}, is_done

        page = self.page(f"/installations/{pk}/uninstall/")
        self.press("uninstall", page, judge, needs=[self.live], ends=[self.live, "pk " + pk])

    # --- as the app ---

    def use(self):
        family = self.connect()
        for _number in range(8):
            kind = self.random.choice(("refresh", "refresh", "refresh", "credentials", "revoke", "revoke all"))
            if kind == "credentials":
                self.token(
                    "client credentials", {"grant_type": "client_credentials", "account": self.slug}, [self.live]
                )
            elif kind == "revoke" and self.tokens:
                token, needs = self.tokens[-1]
                self.revoke(token, needs[:1])
            elif kind == "revoke all" and family:
                self.revoke(family[1], [family[0]])
                family = None
            else:
                family = self.refresh(*family) if family else self.connect()
            if self.load.is_over.is_set():
                return

    def connect(self):
        """Authorize and exchange the code; return the family's name and its refresh token."""
        name = f"{self.live} family {time.monotonic_ns()}"
        while not self.load.is_over.is_set():
            code, verifier = self.authorize() or (None, None)
            if not code:
                return None
            form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier,
                    "redirect_uri": self.load.seeded["redirect_uri"]}  # fmt: skip
            verdict, told = self.token_once("exchange", form, [name_of(code), self.live], [name_of(code)], [name])
            if verdict == ACCEPTED:
                return name, told["refresh_token"]
            # A code works once, so whoever does not know what became of it asks for another.
            self.load.is_over.wait(AGAIN)
        return None

    def authorize(self):
        verifier, challenge = pkce()
        query = urlencode({
            "response_type": "code", "client_id": self.load.seeded["client_id"], "redirect_uri": self.load.seeded["redirect_uri"],
            "scope": self.load.seeded["scope"], "state": "x", "code_challenge": challenge, "code_challenge_method": "S256",
            "account": self.slug,
        })  # fmt: skip

        def judge(page):
            told = parse_qs(urlsplit(page.headers.get("Location", "")).query)
            if code := told.get("code"):
                # It can be exchanged for a minute.
                return True, {name_of(code[0]): 60}, code[0]
            return page.status_code == 200 and 'value="agree"' in page.text, {}, page

        needs = [self.live]
        found = self.settle(
            lambda: self.ask("authorize", lambda: self.person.get(f"/oauth/authorize?{query}"), judge, needs=needs)
        )
        if found is not None and not isinstance(found, str):
            found = self.press("agree", found, judge, needs=needs, decision="agree")
        return (found, verifier) if isinstance(found, str) else None

    def refresh(self, family, token):
        """Refresh until it is settled; return the family and its new refresh token, or None."""
        form, begun = {"grant_type": "refresh_token", "refresh_token": token}, time.monotonic()
        while not self.load.is_over.wait(PAUSE) and time.monotonic() - begun < PATIENCE:
            verdict, told = self.token_once("refresh", form, [family, self.live], [], [])
            if verdict == ACCEPTED:
                return family, told["refresh_token"]
            if verdict == REFUSED:
                return None
            self.load.is_over.wait(AGAIN)
        return None

    def token(self, what, form, needs):
        return self.settle(lambda: self.token_once(what, form, needs, [], []))

    def token_once(self, what, form, needs, ends, starts):
        def judge(answer):
            if answer.status != 200:
                return False, {}, None
            told = answer.json()
            token = told["access_token"]
            # Those of a code or a refresh end with their family.
            under = [*starts, *[name for name in needs if " family " in name], self.live]
            self.tokens.append((token, [name_of(token), *under]))
            return True, {name_of(token): told["expires_in"], **dict.fromkeys(starts)}, told

        return self.ask(what, lambda: self.post("/oauth/token", form), judge, needs=needs, ends=ends)

    def revoke(self, token, ends):
        self.settle(
            lambda: self.ask(
                "revoke", lambda: self.post("/oauth/revoke", {"token": token}), lambda answer: (answer.status == 200, {}, None), ends=ends
            )
        )  # fmt: skip

    def post(self, path, form):
        self.http = self.http or Http(self.load.port, timeout=GIVE_UP)
        try:
            return self.http.post(path, form, (self.load.seeded["client_id"], self.load.seeded["secret"]))
        except (OSError, HTTPException):
            self.http = None
            raise


class Product(Asking):
    """Asks about the tokens of one account: those that are good and those that have ended."""

    def __init__(self, load, number, account):
        super().__init__(load, f"product {number}")
        self.account, self.http = account, None
        self.random = random.Random(number)

    def run(self):
        while not self.load.is_over.wait(PAUSE):
            # The newest most of the time, since that is the one that ends.
            known = [*self.account.tokens]
            if known:
                token, needs = self.random.choice([*known, *known[-2:] * 10])
                verdict, _found = (
                    self.introspect(token, needs) if self.random.random() < 0.3 else self.check(token, needs)
                )
                if verdict in (FAILED, LOST):
                    self.http = None

    def check(self, token, needs):
        headers = {
            "X-Original-Method": "GET", "X-Original-URI": "/api/v2/tickets", "Authorization": f"Bearer {token}",
        }  # fmt: skip
        return self.ask(
            "check",
            lambda: self.connection().get("/oauth/check/freshservice", **headers),
            lambda answer: (answer.status == 200, {}, None),
            needs=needs,
            writes=False,
        )

    def introspect(self, token, needs):
        return self.ask(
            "introspect",
            lambda: self.connection().post("/oauth/introspect", {"token": token}, ("freshservice", self.load.seeded["product"])),
            lambda answer: (answer.status == 200 and answer.json()["active"], {}, None),
            needs=needs,
            writes=False,
        )  # fmt: skip

    def connection(self):
        self.http = self.http or Http(self.load.port, timeout=GIVE_UP)
        return self.http


class Load:
    """All threads of the load, until `stop`."""

    def __init__(self, stage):
        self.record, self.seeded, self.port = stage.record, stage.seeded, stage.port
        self.fault, self.is_over = "", threading.Event()
        self.threads, self.failures = [], []
        for number, told in enumerate(self.seeded["accounts"]):
            account = Account(self, number, told["slug"], told["session"])
            self.threads += [threading.Thread(target=self._run, args=[who], daemon=True) for who in (account, Product(self, number, account))]  # fmt: skip

    def _run(self, who):
        try:
            who.run()
        except Exception as error:
            # A load that stopped would be steady no more, and prove nothing.
            self.failures.append(f"{who.who}: {type(error).__name__}: {error}")
            raise

    def start(self):
        for thread in self.threads:
            thread.start()
        return self

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(2 * GIVE_UP)
