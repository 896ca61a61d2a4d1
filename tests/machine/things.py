"""The things that the model knows, as plain as they can be; `pk` and `ref` say which of the portal's rows one stands for."""

from dataclasses import dataclass, field

MINUTE, HOUR, DAY = 60, 3600, 86400
NEVER = float("inf")


class No(Exception):
    """The rules do not allow it; `error` is what the token endpoint says then."""

    def __init__(self, error="refused"):
        super().__init__(error)
        self.error = error


@dataclass(eq=False, kw_only=True)
class Thing:
    name: str = ""
    pk: object = None
    ref: str = ""

    def __repr__(self):
        return f"<{self.name}>"

    def _repr_pretty_(self, printer, cycle):
        """As hypothesis prints it in a failing sequence."""
        printer.text(repr(self))

    def __str__(self):
        """As the ledger names it."""
        return f"{type(self).__name__.lower()}:{self.ref}"


@dataclass(eq=False, repr=False)
class Person(Thing):
    email: str
    reviewer: bool = False
    runs_the_portal: bool = False
    active: bool = True


@dataclass(eq=False, repr=False)
class Team(Thing):
    mates: list["Teammate"] = field(default_factory=list)
    verified: bool = False

    @property
    def developers(self):
        return [mate.person for mate in self.mates if mate.lives]

    @property
    def owners(self):
        return [mate.person for mate in self.mates if mate.lives and mate.role == "owner"]


@dataclass(eq=False, repr=False)
class Account(Thing):
    test_of: Team | None = None
    suspended: bool = False
    members: list["Member"] = field(default_factory=list)


@dataclass(eq=False, repr=False, kw_only=True)
class Membership(Thing):
    """A person's membership of an account or the team, live or ended."""

    ended_at: float = NEVER

    @property
    def ended(self):
        return self.ended_at < NEVER

    @property
    def lives(self):
        return not self.ended and self.person.active


@dataclass(eq=False, repr=False)
class Member(Membership):
    person: Person
    account: Account
    role: str


@dataclass(eq=False, repr=False)
class Teammate(Membership):
    person: Person
    role: str


@dataclass(eq=False, repr=False)
class Invitation(Thing):
    organisation: Account | Team
    email: str
    role: str
    by: Person
    made: float
    told: bool = False
    # What the newest mail holds, once it was sent.
    token: str = ""
    over: bool = False

    @property
    def expires(self):
        return self.made + 7 * DAY


@dataclass(eq=False, repr=False)
class Secret(Thing):
    client: "Client"
    made: float
    value: str = ""
    ends: float = NEVER


@dataclass(eq=False, repr=False)
class Client(Thing):
    team: Team
    external: bool
    agent_level: bool
    scopes: set[str]
    suspended_at: float | None = None
    not_before: float = -NEVER
    secrets: list[Secret] = field(default_factory=list)


@dataclass(eq=False, repr=False)
class App(Thing):
    team: Team
    client: Client | None
    custom: set[Account] = field(default_factory=set)


@dataclass(eq=False, repr=False)
class Version(Thing):
    app: App
    number: int
    required: set[str]
    optional: set[str]
    status: str = "draft"
    public: bool = False
    published: int = 0

    @property
    def scopes(self):
        return self.required | self.optional


@dataclass(eq=False, repr=False)
class Access(Thing):
    client: Client
    account: Account
    required: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)
    ended: bool = False
    stamped: bool = False
    took_along: dict[str, int] | None = None


@dataclass(eq=False, repr=False)
class Installation(Thing):
    account: Account
    app: App
    version: Version
    access: Access
    ended: bool = False
    upgrades_itself: bool = False


@dataclass(eq=False, repr=False)
class Consent(Thing):
    access: Access
    member: Member | None
    granted: set[str]
    left_off: set[str]
    expires: float
    trimmed: set[str] = field(default_factory=set)
    revoked: bool = False
    stamped: bool = False
    # Who pressed Agree last, and who confirmed it since.
    agreed_by: Person | None = None
    confirmed_by: Person | None = None

    @property
    def client(self):
        return self.access.client

    @property
    def account(self):
        return self.access.account

    @property
    def void(self):
        """Ended by what it stands on, so that nobody could agree to it again."""
        return bool(
            self.client.suspended_at is not None
            or self.account.suspended
            or self.access.ended
            or (self.member and not self.member.lives)
        )

    def lives(self, now):
        return not self.void and not self.revoked and now < self.expires


@dataclass(eq=False, repr=False)
class Family(Thing):
    """`refresh` and `tokens` are what was handed out, a generation each."""

    consent: Consent
    scopes: set[str]
    made: float
    current_made: float
    previous_made: float = -NEVER
    ended: bool = False
    refresh: list[str] = field(default_factory=list)
    tokens: list["Token"] = field(default_factory=list)

    def lives(self, now):
        return not self.ended and self.made > self.consent.client.not_before and self.consent.lives(now)


@dataclass(eq=False, repr=False)
class Code(Thing):
    consent: Consent
    scopes: set[str]
    made: float
    value: str = ""
    verifier: str = ""
    used: bool = False
    family: Family | None = None
    erased: bool = False

    def lives(self, now):
        lives = now < self.made + MINUTE and self.made > self.consent.client.not_before and self.consent.lives(now)
        return lives and not self.used and not self.erased


@dataclass(eq=False, repr=False)
class Token(Thing):
    consent: Consent
    family: Family | None
    scopes: set[str]
    made: float
    value: str = ""
    revoked_at: float | None = None
    erased: bool = False

    @property
    def expires(self):
        return self.made + 30 * MINUTE

    def verdict(self, now):
        """What a call with it is told: good, unknown, expired or ended."""
        if self.erased:
            return "unknown"
        if now >= self.expires:
            return "expired"
        ended = self.revoked_at is not None or (self.family and self.family.ended)
        early = self.made <= self.consent.client.not_before
        return "ended" if ended or early or not self.consent.lives(now) else "good"

    def could_be_agreed_again(self, now):
        """Whether a refusal says where: the consent was revoked or has expired, and nothing below it ended."""
        return not self.consent.void and (self.consent.revoked or now >= self.consent.expires)
