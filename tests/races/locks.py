"""Every lock that actions take, by function and table, and the race that needs it."""

# T11 names most of these, in this order; the others fit in between.
_ORDER = [
    "accounts_user", "accounts_account", "accounts_team", "accounts_invitation", "credentials_product", "credentials_client",
    "marketplace_version", "marketplace_app", "marketplace_picture", "accounts_membership", "marketplace_installation",
    "consent_access", "consent_consent", "consent_authorizationcode", "consent_refreshtoken", "consent_accesstoken",
    "marketplace_connection", "ledger_chain",
]  # fmt: skip


def in_order(trace):
    """Tell whether an act's transactions took their locks in the order of T11, except of rows that they made or hold already."""
    held, reached = set(), 0
    for statement in trace:
        if statement.kind in ("commit", "lane"):
            held, reached = set(), 0
        elif statement.kind == "insert":
            held.add(statement.table)
        elif statement.kind == "lock" and not {statement.table, (statement.table, statement.row)} & held:
            position = _ORDER.index(statement.table)
            if position < reached:
                return False
            held.add((statement.table, statement.row))
            reached = position
    return True


ACCOUNT, CLIENT, MEMBERSHIP = "accounts_account", "credentials_client", "accounts_membership"
APP, VERSION, INSTALLATION = "marketplace_app", "marketplace_version", "marketplace_installation"
ACCESS, CONSENT, CHAIN = "consent_access", "consent_consent", "ledger_chain"
CODE, FAMILY = "consent_authorizationcode", "consent_refreshtoken"
PATH = "> consent.path.lock_path"

CONNECTION = "marketplace_connection"
_CONNECT = (
    f"marketplace.vendors._lock {ACCOUNT}",
    f"marketplace.vendors._member {MEMBERSHIP}",
    f"marketplace.vendors._lock {INSTALLATION}",
)

# Without one of these locks, its race fails in an interleaving.
NEEDED = {
    f"marketplace.upgrading._lock {ACCOUNT}": "upgrade to what asks for nothing against the account's suspension",
    f"marketplace.upgrading._lock {CLIENT}": "upgrade to what asks for nothing against suspension",
    f"marketplace.upgrading._lock {VERSION}": "upgrade against withdrawal",
    f"marketplace.upgrading.set_upgrades_itself {ACCOUNT}": "turned on against the admin's demotion",
    f"marketplace.publishing.withdraw_version {VERSION}": "withdrawn twice",
    f"consent.granting.change_terms {ACCESS}": "exchange against an upgrade that asks for nothing",
    f"marketplace.installing.install {VERSION}": "install against withdrawal",
    f"consent.path.lock_path {MEMBERSHIP}": "refresh by an agent's app against the agent's removal",
    f"consent.path.lock_path {ACCESS}": "exchange against uninstall",
    f"consent.ending.end_access {ACCOUNT}": "ending against the admin's demotion",
    f"consent.ending.end_access {ACCESS}": "exchange against uninstall",
    f"consent.ending.revoke_consent {ACCOUNT}": "revocation against the admin's demotion",
    f"consent.ending.revoke_consent {PATH}": "exchange against revocation",
    f"consent.ending.revoke_for_all {ACCOUNT}": "revoked for all against the admin's demotion",
    f"consent.ending.trim_consent {ACCOUNT}": "trim against the admin's demotion",
    f"consent.ending.trim_consent {PATH}": "exchange against trim",
    f"consent.ending.revoke_tokens {ACCESS}": "stamping twice",
    f"consent.ending.expire_consents {PATH}": "renewal against expiry",
    f"consent.succeeding.confirm_consent {ACCOUNT}": "confirming against the admin's demotion",
    f"consent.granting.open_access {ACCOUNT}": "an access opened twice",
    f"consent.granting.grant_consent {ACCOUNT}": "agreeing against the account's suspension",
    f"consent.granting.grant_consent {CLIENT}": "agreeing against suspension",
    f"consent.issuing.issue_code {MEMBERSHIP}": "a code against an admin's demotion",
    f"consent.issuing.issue_code {PATH}": "a code against revocation",
    f"consent.issuing.find_code {PATH}": "exchange against uninstall",
    f"consent.issuing._lock_family {PATH}": "refresh against uninstall",
    f"consent.issuing.standing_consent {ACCESS}": "client credentials against uninstall",
    f"consent.issuing.token_for_one_call {PATH}": "a call for an app against uninstall",
    f"marketplace.vendors._refreshed {CONNECTION}": "a refresh against disconnecting",
    f"marketplace.vendors._refused {CONNECTION}": "a vendor's refusal against disconnecting",
    f"marketplace.installing.install {CLIENT}": "install against suspension",
    f"marketplace.installing.install_draft {CLIENT}": "a draft installed against suspension",
    f"marketplace.installing.install_draft {VERSION}": "a draft installed against its submission",
    f"marketplace.installing.discard {ACCOUNT}": "agreeing against discard",
    f"marketplace.publishing.create_app {CLIENT}": "an app made against a scope added",
    f"marketplace.publishing.set_client {CLIENT}": "credentials set for two apps",
    f"marketplace.publishing.set_client {APP}": "credentials set twice",
    f"marketplace.publishing.create_version {APP}": "a version made twice",
    f"marketplace.publishing.change_version {VERSION}": "submit against change",
    f"marketplace.publishing.submit_version {VERSION}": "submit twice",
    f"marketplace.publishing.take_back_version {VERSION}": "taking back against approval",
    f"marketplace.publishing._decide {VERSION}": "approve against reject",
    f"marketplace.publishing.publish_version {VERSION}": "publish twice",
    f"marketplace.publishing.publish_custom {VERSION}": "publish for accounts twice",
    f"marketplace.publishing.publish_custom {APP}": "publish for accounts against listing",
    f"marketplace.packaging._take {VERSION}": "a package taken against publishing for accounts",
    f"marketplace.publishing.list_accounts {APP}": "listing twice",
    f"marketplace.publishing.unlist_account {APP}": "listing against taking off",
    f"credentials.add_scopes {CLIENT}": "a scope added twice",
    f"credentials.rotate_secret {CLIENT}": "rotate twice",
    f"credentials.end_secret {CLIENT}": "a secret ended twice",
    f"credentials.suspend_client {CLIENT}": "suspend twice",
    f"credentials.lift_client {CLIENT}": "lift twice",
    "credentials.make_product_secret credentials_product": "a product's secret made twice",
    "credentials.set_base_address credentials_product": "a base address set twice",
    "credentials.registry.import_document credentials_product": "scopes imported twice",
    f"portal.accounts.memberships.add_member {ACCOUNT}": "a member added twice",
    f"portal.accounts.memberships.change_role {ACCOUNT}": "two admins demoting each other",
    f"portal.accounts.memberships.end_membership {ACCOUNT}": "two admins removing each other",
    f"portal.accounts.memberships.end_membership {MEMBERSHIP}": "refresh by an agent's app against the agent's removal",
    f"portal.accounts.accounts.suspend_account {ACCOUNT}": "an account suspended twice",
    f"portal.accounts.accounts.lift_account {ACCOUNT}": "an account lifted twice",
    f"portal.accounts.teams.lock_team {ACCOUNT}": "two owners removing each other",
    f"portal.accounts.inviting._lock_organisation {ACCOUNT}": "an invitation accepted against the sender's demotion",
    "portal.accounts.teams.verify_team accounts_team": "a team verified twice",
    "portal.accounts.people.deactivate_person accounts_user": "a person deactivated twice",
    f"portal.ledger.record {CHAIN}": "two credentials of one team",
}

_PATH = (f"consent.path.lock_path {ACCESS}", f"consent.path.lock_path {CONSENT}")
_END = f"marketplace.installing._end {ACCOUNT}"
_END_ACCESS = (f"consent.ending.end_access {ACCOUNT}", f"consent.ending.end_access {ACCESS}")
_OPEN = (f"consent.granting.open_access {ACCOUNT}",)

# T11 locks every row that is decided on, so that no rule depends on another row's lock. With these the race holds
# even without the locks listed beside them, and fails without both.
SECOND = {
    f"consent.path.lock_path {CONSENT}": (_PATH[:1], "exchange against revocation"),
    f"consent.ending.revoke_for_all {ACCESS}": (
        (f"consent.ending.revoke_for_all {ACCOUNT}",),
        "revoked for all twice",
    ),
    f"consent.issuing.find_code {CODE}": (_PATH, "exchange twice"),
    f"consent.issuing.redeem_code {FAMILY}": (_PATH, "a code replayed against giving back"),
    f"consent.issuing._lock_family {FAMILY}": (_PATH, "refresh twice"),
    f"consent.issuing.standing_consent {CONSENT}": (
        (f"consent.issuing.standing_consent {ACCESS}",),
        "client credentials against revocation",
    ),
    f"consent.granting.grant_consent {MEMBERSHIP}": (
        (f"consent.granting.grant_consent {ACCOUNT}",),
        "agreeing against the admin's removal",
    ),
    f"consent.granting.grant_consent {ACCESS}": (
        (f"consent.granting.grant_consent {CONSENT}",),
        "refresh against a new agreement",
    ),
    f"consent.granting.grant_consent {CONSENT}": (
        (f"consent.granting.grant_consent {ACCESS}",),
        "refresh against a new agreement",
    ),
    f"marketplace.upgrading._lock {MEMBERSHIP}": (
        (f"marketplace.upgrading._lock {ACCOUNT}",),
        "upgrade to what asks for nothing against the admin's demotion",
    ),
    f"marketplace.upgrading._lock {INSTALLATION}": (
        (
            f"marketplace.upgrading._lock {ACCOUNT}",
            f"marketplace.upgrading._lock {MEMBERSHIP}",
            f"marketplace.upgrading._lock {CLIENT}",
            f"marketplace.upgrading._lock {VERSION}",
        ),
        "upgraded twice to what asks for nothing",
    ),
    f"marketplace.upgrading.set_upgrades_itself {INSTALLATION}": (
        (f"marketplace.upgrading.set_upgrades_itself {ACCOUNT}",),
        "turned on twice",
    ),
    f"marketplace.vendors.disconnect {CONNECTION}": (_CONNECT, "disconnected twice"),
    **{site: (tuple(other for other in _CONNECT if other != site), "a connection made twice") for site in _CONNECT},
    _END: (_END_ACCESS[:1], "uninstall against the admin's demotion"),
    f"marketplace.installing._end {INSTALLATION}": ((_END, *_END_ACCESS), "uninstall twice"),
    f"marketplace.installing.install {ACCOUNT}": (_OPEN, "install against the account's suspension"),
    f"marketplace.installing.install_draft {ACCOUNT}": (_OPEN, "a draft installed against the admin's removal"),
}

# No race needs these; the reasons why they stay.
STAY = {
    f"consent.succeeding.confirm_consent {PATH}": "T11: the row it writes; every other act on it but expiry holds the account",
    "consent.ending.revoke_tokens rows": "T11: the consents it stamps; every other act on them holds their access",
    "consent.issuing.note_issued rows": "passes over a consent whose lock others share",
    "consent.granting._change_terms rows": "T11: the consents it narrows; every other act on them holds their access",
    f"marketplace.vendors.end_connections {CONNECTION}": "T11: what it writes, no act but people's does, who hold the account",
    f"portal.accounts.memberships.change_role {MEMBERSHIP}": "T11: every act that decides on a role holds it, and it is read anew",
    f"portal.accounts.teams._match_test_account {MEMBERSHIP}": "T11: as end_membership; a team is changed under its test account's lock",
    **dict.fromkeys(
        (f"portal.accounts.inviting.{name} accounts_invitation" for name in ("_open_one", "accept_invitation")),
        "T11: the row that is decided on; every other act on it holds its account or team's",
    ),
    "marketplace.picturing.keep_screenshots marketplace_picture": (
        "nobody erases a picture or takes it down between its being taken and the version's commit: tests/marketplace/test_screenshots.py"
    ),
    "marketplace.picturing.erase_pictures rows": "whoever takes a picture again waits, or is passed over: the same tests",
    "marketplace.picturing.take_down_picture rows": "T11: the versions it writes, in one order",
    "portal.accounts.suspensions.tell_of_suspension rows": "T3: of two workers with the same message, one writes the mails",
    f"marketplace.packaging._take {APP}": "T11: what the package is checked against; a draft is checked again later",
    f"marketplace.vendors.secrets.keep_vendor_secret {APP}": "T11: whose secret it is; the row itself is locked as it is replaced",
    f"marketplace.vendors._lock_connection {CONNECTION}": (
        "T11: what a person connects wins over a worker, whichever came first; people hold the account"
    ),
    **dict.fromkeys(
        (
            f"portal.accounts.profiles.{name} accounts_team"
            for name in ("change_profile", "ask_for_verification", "refuse_verification")
        ),
        "T11: the row that is decided on; whoever verifies the team holds it too",
    ),
    "portal.accounts.inviting.tell_of_invitation rows": "an invitation is not resent or taken back between its token and its mail",
    "portal.foundation.mail._claim rows": "T3: of two workers with the same message, one sends the mail",
    f"portal.demo.sandbox.samples.reset_samples {ACCOUNT}": "of two resets at once, the second replaces what the first put there",
    "portal.ledger.preparing._write_piece ledger_export": "of two workers with the same message, one writes each piece",
    "portal.ledger.preparing.erase_exports rows": "no piece is written of what is erased meanwhile",
    "portal.ledger.keys._locked_period ledger_keyperiod": "a key's period ends after all that it signs at the same moment",
    "credentials.trying.create_test_client accounts_team": "a team gets one set: tests/consent/test_trying.py",
    f"credentials.trying.make_test_secret {CLIENT}": "C3: two secrets at most, as for every other act that makes one",
    f"credentials.change_client {CLIENT}": "reads the row anew that its one UPDATE writes",
    "portal.accounts.people.change_staff accounts_user": "reads the row anew that its first UPDATE writes",
    "portal.accounts.people.remove_two_factor accounts_user": "the DELETE tells the second that nothing was left",
}
