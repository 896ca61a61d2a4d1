"""Which acts race, and what each race promises besides what always holds."""

from tests.factories import EDIT, VIEW
from tests.races import acts
from tests.races.acts import agree, exchange, on_version, refresh
from tests.races.verdicts import (
    any_of_both,
    both,
    counted,
    current_secrets,
    dead,
    ended_by_reuse,
    ended_once,
    listed,
    made_before_the_end,
    narrow,
    not_after,
    once,
    one,
    one_product_secret,
    one_row,
    registered,
    relisted,
    renewed_once,
    same_pair,
    stays_ended,
    two_agents,
    unchanged,
    upgraded,
)

ASKING = {
    "exchange": exchange(),
    "refresh": refresh(),
    "client credentials": acts.client_credentials,
}
ENDING = {
    "revocation": acts.revoke("account", "admin2"),
    "suspension of the client": acts.suspend_client("account"),
    "suspension of the account": acts.suspend_account,
    "uninstall": acts.uninstall("account"),
    "a leak": acts.leak,
}
AGENT_ASKING = {"exchange by an agent's app": exchange("agent"), "refresh by an agent's app": refresh("agent")}
AGENT_ENDING = {
    "the agent's removal": acts.leave("agent"),
    "the agent's own revocation": acts.revoke("agent", "agent"),
    "an admin's revocation": acts.revoke("agent", "admin"),
    "revoking for all": acts.revoke_for_all(),
    "uninstall": acts.uninstall("agent"),
    "deactivation": acts.deactivate("agent"),
}


def _crossed(asking, ending, name):
    return {
        f"{what} against {how}": (ask, end, dead(name)) for what, ask in asking.items() for how, end in ending.items()
    }


# Races that the rules name: each is run at random and forced.
TOKENS = {
    **_crossed(ASKING, ENDING, "account"),
    **_crossed(AGENT_ASKING, AGENT_ENDING, "agent"),
    **{f"{what} against a scope added": (ask, acts.add_scope("account"), unchanged) for what, ask in ASKING.items()},
    **{f"{what} against trim": (ask, acts.trim(), narrow) for what, ask in ASKING.items()},
    "exchange twice": (exchange(), exchange(), one()),
    "refresh twice": (refresh(), refresh(), same_pair),
    "reuse against a refresh": (acts.reuse, refresh("reused"), ended_by_reuse),
    "refresh against giving back": (refresh(), acts.give_back, dead("account")),
    "trim against giving back": (acts.trim(), acts.give_back_access, both),
    "a code replayed against a refresh": (acts.replay, refresh(), ended_once),
    "a code replayed against giving back": (acts.replay, acts.give_back, ended_once),
    "exchange against using up": (exchange(), acts.use_up, one()),
    "refresh against a new agreement": (refresh(), agree("account", "admin", replace=True), dead("account")),
    "client credentials against a new agreement": (
        acts.client_credentials,
        agree("account", "admin", replace=True),
        both,
    ),
    "a code against an admin's demotion": (
        acts.issue_code("account", "admin"),
        acts.demote("admin"),
        not_after(0),
    ),
    "a code against an admin's removal": (acts.issue_code("account", "admin"), acts.leave("admin"), not_after(0)),
    "a code against revocation": (acts.issue_code("account", "admin"), ENDING["revocation"], not_after(0)),
    "a code against trim": (acts.issue_code("account", "admin"), acts.trim(scope=VIEW), not_after(0)),
    "an agent's code against the agent's removal": (
        acts.issue_code("agent", "agent"),
        acts.leave("agent"),
        not_after(0),
    ),
}
AGREEING = {
    "two admins agreeing": (agree("unfinished", "admin"), agree("unfinished", "admin2"), one("consent.granted")),
    "two admins agreeing first": (agree("new", "admin"), agree("new", "admin2"), one("consent.granted")),
    "two agents agreeing first": (agree("new_agent", "agent"), agree("new_agent", "agent2"), two_agents),
    "two admins with stale pages": (
        agree("account", "admin", replace=True),
        agree("account", "admin2", replace=True),
        one("consent.replaced"),
    ),
    "two admins renewing": (agree("account", "admin"), agree("account", "admin2"), one("consent.renewed")),
    "agreeing against uninstall": (agree("unfinished", "admin"), acts.uninstall("unfinished"), not_after(0)),
    "agreeing against discard": (agree("unfinished", "admin"), acts.discard(), one()),
    "agreeing against the admin's removal": (agree("unfinished", "admin"), acts.leave("admin"), not_after(0)),
    "agreeing against the admin's demotion": (agree("unfinished", "admin"), acts.demote("admin"), not_after(0)),
    "an agent agreeing against removal": (agree("agent", "agent2"), acts.leave("agent2"), not_after(0)),
    "an agent agreeing against uninstall": (agree("agent", "agent2"), acts.uninstall("agent"), not_after(0)),
    "agreeing against suspension": (agree("unfinished", "admin"), acts.suspend_client("unfinished"), not_after(0)),
    "agreeing against the account's suspension": (agree("unfinished", "admin"), acts.suspend_account, not_after(0)),
    "agreeing first against a scope added": (agree("new", "admin"), acts.add_scope("new"), not_after(0)),
    "a new agreement against revocation": (
        agree("account", "admin", replace=True),
        acts.revoke("account", "admin2"),
        one(),
    ),
    "a new agreement against trim": (agree("account", "admin", replace=True), acts.trim("admin2"), one()),
    "renewing against trim": (agree("account", "admin"), acts.trim("admin2"), not_after(0)),
    "trim twice": (acts.trim("admin"), acts.trim("admin2"), one("consent.trimmed")),
    "trim against another trim": (acts.trim("admin", EDIT), acts.trim("admin2", VIEW), both),
    "trim against revocation": (acts.trim(), acts.revoke("account", "admin2"), any_of_both),
    "renewal against expiry": (agree("expired", "admin"), acts.expire, renewed_once),
    "expiry twice": (acts.expire, acts.expire, renewed_once),
}
ENDINGS = {
    "install twice": (acts.install("admin"), acts.install("admin2"), one("installation.installed")),
    "install against suspension": (acts.install(), acts.suspend_client("listed"), not_after(0)),
    "install against the account's suspension": (acts.install(), acts.suspend_account, not_after(0)),
    "install against the admin's demotion": (acts.install(), acts.demote("admin"), not_after(0)),
    "uninstall twice": (acts.uninstall("account", "admin"), acts.uninstall("account"), one("access.ended")),
    "uninstall against discard": (acts.uninstall("unfinished"), acts.discard("admin"), one("access.ended")),
    "discard twice": (acts.discard(), acts.discard("admin"), one("access.ended")),
    "uninstall against the admin's demotion": (acts.uninstall("account"), acts.demote("admin2"), not_after(0)),
    "revocation twice": (acts.revoke("account", "admin"), acts.revoke("account", "admin2"), one("consent.revoked")),
    "revocation against the admin's demotion": (acts.revoke("account", "admin2"), acts.demote("admin2"), not_after(0)),
    "revoked for all twice": (
        acts.revoke_for_all("admin"),
        acts.revoke_for_all("admin2"),
        one("consent.revoked_for_all"),
    ),
    "revoked for all against the admin's demotion": (acts.revoke_for_all(), acts.demote("admin2"), not_after(0)),
    "revoked for all against uninstall": (acts.revoke_for_all(), acts.uninstall("agent", "admin"), not_after(0)),
    "revoked for all against the agent's own revocation": (
        acts.revoke_for_all(),
        acts.revoke("agent", "agent"),
        any_of_both,
    ),
    "an agent agreeing against revoking for all": (agree("agent", "agent2"), acts.revoke_for_all(), both),
    "a new agreement of an agent against revoking for all": (
        agree("agent", "agent", replace=True),
        acts.revoke_for_all(),
        any_of_both,
    ),
    "trim against the admin's demotion": (acts.trim("admin2"), acts.demote("admin2"), not_after(0)),
    "ending twice": (acts.end_external("admin"), acts.end_external("admin2"), one("access.ended")),
    "ending against the admin's demotion": (acts.end_external("admin2"), acts.demote("admin2"), not_after(0)),
    "ending against a refresh": (acts.end_external("admin2"), refresh("external"), dead("external")),
    "ending against revocation": (acts.end_external("admin2"), acts.revoke("external", "admin"), any_of_both),
    "two admins demoting each other": (acts.demote("admin"), acts.demote("admin2"), one("member.role_changed")),
    "two admins removing each other": (acts.leave("admin"), acts.leave("admin2"), one("member.removed")),
    "removal twice": (acts.leave("agent"), acts.leave("agent"), one("member.removed")),
    "removal against demotion": (acts.leave("admin"), acts.demote("admin"), any_of_both),
    "drafts installed twice": (acts.install_draft, acts.install_draft, both),
    "a draft installed against its change": (
        acts.install_draft,
        on_version("change_version", "draft", tagline="Other"),
        both,
    ),
    "a draft installed against its submission": (
        acts.install_draft,
        on_version("submit_version", "draft"),
        not_after(0),
    ),
    "a draft installed against suspension": (acts.install_draft, acts.suspend_client("drafted"), not_after(0)),
    "a draft installed against the admin's removal": (acts.install_draft, acts.leave_test_account, not_after(0)),
}
REVIEWING = {
    "approve against reject": (
        on_version("approve_version", "in_review", by=0),
        on_version("reject_version", "in_review", by=1, reason="No"),
        one("version.approved", "version.rejected", count=2),
    ),
    "taking back against approval": (
        on_version("take_back_version", "in_review"),
        on_version("approve_version", "in_review", by=0),
        one(),
    ),
    "submit twice": (
        on_version("submit_version", "draft"),
        on_version("submit_version", "draft", by="dev2"),
        one("version.submitted"),
    ),
    "submit against change": (
        on_version("submit_version", "draft"),
        on_version("change_version", "draft", by="dev2", tagline="Other"),
        any_of_both,
    ),
    "publish twice": (
        on_version("publish_version", "approved"),
        on_version("publish_version", "approved", by="dev2"),
        one("version.published"),
    ),
    "publish for accounts twice": (
        on_version("publish_custom", "custom_draft", accounts={"second"}),
        on_version("publish_custom", "custom_draft", by="dev2", accounts={"third"}),
        one("version.published"),
    ),
    "a package taken against publishing for accounts": (
        acts.take_package,
        on_version("publish_custom", "custom_draft", accounts={"second"}),
        not_after(0),
    ),
    "publish for accounts against listing": (
        on_version("publish_custom", "custom_draft", accounts={"second"}),
        acts.list_accounts("third"),
        listed,
    ),
    "listing twice": (acts.list_accounts("second"), acts.list_accounts("third"), listed),
    "listing against taking off": (acts.list_accounts("second"), acts.unlist_account("first"), relisted),
    "a version made twice": (acts.create_version, acts.create_version, one("version.created")),
    "credentials set for two apps": (acts.set_client(0), acts.set_client(1), one("app.client_set")),
    "credentials set twice": (acts.set_client(0), acts.set_client(0, "other_client"), one("app.client_set")),
    "an app made against a scope added": (acts.create_app, acts.add_scope("free_client"), both),
}
CREDENTIALS = {
    "rotate twice": (
        acts.rotate_secret("account", 24),
        acts.rotate_secret("account", 24, "dev2"),
        current_secrets(1),
    ),
    "rotate twice without overlap": (
        acts.rotate_secret("account", 0),
        acts.rotate_secret("account", 0, "dev2"),
        current_secrets(2),
    ),
    "a secret ended twice": (acts.end_secret, acts.end_secret, one("client.secret_ended")),
    "a secret ended against rotation": (acts.end_secret, acts.rotate_secret("rotated", 0), any_of_both),
    "a scope added twice": (acts.add_scope("account"), acts.add_scope("account", "dev2"), both),
    "two credentials of one team": (acts.add_scope("account"), acts.rotate_secret("rotated", 0), both),
    "credentials changed twice": (acts.change_client("One"), acts.change_client("Two", "dev2"), both),
    "suspend twice": (
        acts.suspend_client("account"),
        acts.suspend_client("account", 1),
        one("client.suspended", count=2),
    ),
    "lift twice": (acts.lift_client("suspended"), acts.lift_client("suspended", 1), one("client.lifted", count=2)),
    "a product's secret made twice": (acts.make_product_secret, acts.make_product_secret, one_product_secret),
    "a base address set twice": (acts.set_base_address, acts.set_base_address, once("product.base_address_set")),
    "scopes imported twice": (acts.import_scopes(VIEW, EDIT), acts.import_scopes(VIEW, "freshservice.new"), registered),
}
PEOPLE = {
    "an account suspended twice": (acts.suspend_account, acts.suspend_account, one("account.suspended")),
    "an account lifted twice": (
        acts.lift_other_account,
        acts.lift_other_account,
        one("account.lifted"),
    ),
    "a member added twice": (acts.add_member, acts.add_member, one("member.added")),
    "a teammate added twice": (acts.add_teammate, acts.add_teammate, one("teammate.added")),
    "a teammate added against a member": (acts.add_teammate, acts.add_member_to_test_account, any_of_both),
    "two owners removing each other": (
        acts.end_teammate("dev", by="dev2"),
        acts.end_teammate("dev2", by="dev"),
        one("teammate.removed"),
    ),
    "two owners demoting each other": (
        acts.change_teammate("dev", by="dev2"),
        acts.change_teammate("dev2", by="dev"),
        one("teammate.role_changed"),
    ),
    "a teammate removed twice": (acts.end_teammate("dev"), acts.end_teammate("dev"), one("teammate.removed")),
    "a team verified twice": (acts.verify_team, acts.verify_team, one("team.verified")),
    "a person deactivated twice": (acts.deactivate("agent2"), acts.deactivate("agent2"), one("person.deactivated")),
    "two-factor removed twice": (
        acts.remove_two_factor,
        acts.remove_two_factor,
        one("person.two_factor_removed"),
    ),
    "staff made and unmade": (acts.change_staff(is_staff=True), acts.change_staff(is_staff=False), both),
    "stamping twice": (acts.stamp, acts.stamp, counted),
    "two admins confirming": (acts.confirm("admin"), acts.confirm("admin2"), one("consent.confirmed")),
    "confirming against the admin's demotion": (acts.confirm("admin2"), acts.demote("admin2"), not_after(0)),
    "confirming against revocation": (acts.confirm("admin2"), acts.revoke("left", "admin"), not_after(0)),
    "confirming against trim": (acts.confirm("admin2"), acts.trim("admin", name="left"), not_after(0)),
    "an access opened twice": (acts.open_access, acts.open_access, one("access.opened")),
    "an access opened against suspension": (acts.open_access, acts.suspend_account, not_after(0)),
}
INVITING = {
    "invited twice": (acts.invite("admin"), acts.invite("admin2"), one("invitation.made")),
    "inviting against the admin's demotion": (acts.invite("admin"), acts.demote("admin"), not_after(0)),
    "an invitation accepted twice": (acts.accept, acts.accept, one("member.added")),
    "an invitation accepted against taking it back": (
        acts.accept,
        acts.revoke_invitation("admin"),
        one("member.added", "invitation.revoked"),
    ),
    "an invitation accepted against sending it again": (
        acts.accept,
        acts.resend_invitation,
        one("member.added", "invitation.resent"),
    ),
    "an invitation accepted against the sender's demotion": (acts.accept, acts.demote("admin"), not_after(0)),
    "an invitation accepted against a member added": (acts.accept, acts.add_member, one("member.added")),
    "an invitation taken back twice": (
        acts.revoke_invitation("admin"),
        acts.revoke_invitation("admin2"),
        one("invitation.revoked"),
    ),
    "an invitation sent again against taking it back": (
        acts.resend_invitation,
        acts.revoke_invitation("admin"),
        any_of_both,
    ),
}
CONNECTING = {
    "a connection made twice": (acts.prepare("agent"), acts.prepare("agent"), one_row),
    "disconnected twice": (acts.disconnect("admin"), acts.disconnect("admin2"), one("connection.disconnected")),
    "a refresh against disconnecting": (acts.refreshed, acts.disconnect("admin"), stays_ended),
    "a vendor's refusal against disconnecting": (acts.refused, acts.disconnect("admin"), stays_ended),
    "a call for an app against uninstall": (acts.one_call, acts.uninstall("account"), made_before_the_end),
}
UPGRADING = {
    **{
        f"{what} against {how}": (ask(name), acts.upgrade(name=name), upgraded(name))
        for what, ask in {"exchange": exchange, "refresh": refresh}.items()
        for how, name in {"an upgrade": "grown", "an upgrade that asks for nothing": "eased"}.items()
    },
    "upgraded twice": (acts.upgrade("admin"), acts.upgrade("admin2"), one("installation.upgraded")),
    "upgraded twice to what asks for nothing": (
        acts.upgrade("admin", "eased"),
        acts.upgrade("admin2", "eased"),
        one("installation.upgraded"),
    ),
    "upgrade to what asks for nothing against the account's suspension": (
        acts.upgrade(name="eased"),
        acts.suspend_account,
        not_after(0),
    ),
    "upgrade to what asks for nothing against suspension": (
        acts.upgrade(name="eased"),
        acts.suspend_client("eased"),
        not_after(0),
    ),
    "upgrade to what asks for nothing against the admin's demotion": (
        acts.upgrade(name="eased"),
        acts.demote("admin2"),
        not_after(0),
    ),
    "upgrade against uninstall": (acts.upgrade(), acts.uninstall("grown", "admin"), not_after(0)),
    "upgrade against withdrawal": (acts.upgrade(), acts.withdraw("grown_next"), not_after(0)),
    "upgrade against the admin's demotion": (acts.upgrade(), acts.demote("admin2"), not_after(0)),
    "upgrade against suspension": (acts.upgrade(), acts.suspend_client("grown"), not_after(0)),
    "upgrade against the account's suspension": (acts.upgrade(), acts.suspend_account, not_after(0)),
    "upgrade against trim": (acts.upgrade(), acts.trim("admin", EDIT, "grown"), any_of_both),
    "upgrade against revocation": (acts.upgrade(), acts.revoke("grown", "admin"), any_of_both),
    "declined twice": (
        acts.decline_upgrade("admin"),
        acts.decline_upgrade("admin2"),
        once("installation.upgrade_declined"),
    ),
    "turned on twice": (
        acts.set_upgrades_itself("admin"),
        acts.set_upgrades_itself("admin2"),
        once("installation.upgrades_itself_changed"),
    ),
    "turned on against the admin's demotion": (acts.set_upgrades_itself(), acts.demote("admin2"), not_after(0)),
    "turned on against uninstall": (acts.set_upgrades_itself(), acts.uninstall("grown", "admin"), not_after(0)),
    "withdrawn twice": (acts.withdraw("grown_next"), acts.withdraw("grown_next", "dev2"), one("version.withdrawn")),
    "install against withdrawal": (acts.install(), acts.withdraw("listed"), not_after(0)),
}
PAIRS = {**UPGRADING, **INVITING, **CONNECTING, **TOKENS, **AGREEING, **ENDINGS, **REVIEWING, **CREDENTIALS, **PEOPLE}
# Other races are forced in the soak only.
SOAKED = {
    *UPGRADING, *INVITING, *REVIEWING, *CREDENTIALS, *PEOPLE, "trim against giving back", "refresh against giving back", "exchange against using up", "a code replayed against giving back",
    *(f"{what} against {how}" for what in AGENT_ASKING for how in ("an admin's revocation", "uninstall", "deactivation")),
    "a new agreement of an agent against revoking for all", "revoked for all against the agent's own revocation",
    *(f"{what} against suspension of the account" for what in ASKING), "uninstall against discard", "discard twice",
    "drafts installed twice", "ending against revocation", "removal twice", "removal against demotion",
    "a draft installed against its change", "a draft installed against its submission", "expiry twice", "an invitation taken back twice",
    "an invitation sent again against taking it back", "an invitation accepted against a member added",
    "a draft installed against suspension", "a draft installed against the admin's removal", "trim against another trim",
} - {"upgraded twice", "refresh against an upgrade", "exchange against an upgrade that asks for nothing", "upgrade against uninstall",
     "upgrade against withdrawal", "approve against reject", "rotate twice", "rotate twice without overlap", "an app made against a scope added"}  # fmt: skip

# All grants at once against one ending, with the status that tokens get afterwards.
TOGETHER = {
    **{how: (*ASKING.values(), end, dead("account"), 401) for how, end in ENDING.items()},
    **{f"{how} (agents)": (*AGENT_ASKING.values(), end, dead("agent"), 401) for how, end in AGENT_ENDING.items()},
    "reuse": (acts.reuse, refresh("reused"), refresh("reused"), ended_by_reuse, 401),
    "a scope added": (*ASKING.values(), acts.add_scope("account"), unchanged, 200),
    "trim": (*ASKING.values(), acts.trim(), narrow, 200),
}
