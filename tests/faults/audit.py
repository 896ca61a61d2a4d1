"""What the database says after a fault, in SQL of its own: what is left to do, and at the end all that was acknowledged."""

# {what: a query that counts what was left to do by then and is not done}, of the moment in which the fault was over.
UNFINISHED = {
    "ended accesses not counted": "FROM consent_access WHERE ended_at < %s AND revoked_at IS NULL",
    "ended consents not stamped": "FROM consent_consent WHERE revoked_at < %s AND stamped_at IS NULL",
    "expired consents not ended": "FROM consent_consent WHERE expires_at < %s AND revoked_at IS NULL",
    "tokens alive under counted accesses": (
        "FROM consent_refreshtoken JOIN consent_consent ON consent_id = consent_consent.id JOIN consent_access ON access_id = consent_access.id"
        " WHERE consent_access.revoked_at < %s AND consent_refreshtoken.ended_at IS NULL"
    ),
    "invitations not mailed": (
        "FROM accounts_invitation WHERE created_at < %s AND told_at IS NULL AND accepted_at IS NULL AND revoked_at IS NULL AND expires_at > now()"
    ),
    "notices not mailed": "FROM accounts_notice WHERE made_at < %s AND told_at IS NULL",
    "suspensions not mailed": "FROM accounts_suspensionnotice WHERE made_at < %s AND told_at IS NULL",
    "offers not taken": "FROM marketplace_offer WHERE offered_at < %s AND kind = 'itself' AND taken_at IS NULL",
    "offers not mailed": "FROM marketplace_offer WHERE offered_at < %s AND kind = 'ask' AND told_at IS NULL",
    "exports not written": "FROM ledger_export WHERE asked_at < %s AND done_at IS NULL",
    "successors not asked": (
        "FROM consent_consent JOIN accounts_membership granter ON granter.user_id = granted_by_id JOIN consent_access ON access_id = consent_access.id"
        " WHERE granter.ended_at < %s AND granter.account_id = consent_access.account_id AND successor_asked_at IS NULL"
    ),
}  # fmt: skip

_INSTALLATIONS = """
SELECT id::text, uninstalled_at IS NOT NULL, coalesce(jsonb_object_agg(event, times) FILTER (WHERE event IS NOT NULL), '{}')
FROM marketplace_installation installation LEFT JOIN (
    SELECT subject, event, count(*) times FROM ledger_entry WHERE subject LIKE 'installation:%' GROUP BY 1, 2
) entry ON subject = 'installation:' || installation.id
GROUP BY installation.id
"""
_RECORDED_TWICE = """
SELECT subject || ': ' || count(*) || ' times ' || event FROM ledger_entry
WHERE subject LIKE 'access:%' OR subject LIKE 'installation:%' GROUP BY subject, event HAVING count(*) > 1
"""
# What ends with an access is counted once, whoever does it and however often.
_MISCOUNTED = """
SELECT 'access ' || access.id || ' counted ' || (revoked_counts ->> 'refresh_tokens') || ' families of ' || count(family.id)
FROM consent_access access LEFT JOIN consent_consent consent ON consent.access_id = access.id
LEFT JOIN consent_refreshtoken family ON family.consent_id = consent.id AND family.reason = 'access_ended'
WHERE access.revoked_at IS NOT NULL GROUP BY access.id
HAVING (revoked_counts ->> 'refresh_tokens')::int <> count(family.id)
"""


def unfinished(stage, since):
    """Count what there was to do before `since`, a time of the database, and is not done."""
    return {what: stage.ask(f"SELECT count(*) {query}", since)[0][0] for what, query in UNFINISHED.items()}


def facts(stage):
    """Return what became of each installation, and whatever contradicts itself."""
    there = {pk: {"uninstalled": over, "entries": entries} for pk, over, entries in stage.ask(_INSTALLATIONS)}
    broken = [why for query in (_RECORDED_TWICE, _MISCOUNTED) for (why,) in stage.ask(query)]
    status, said = stage.verify_ledger()
    return {"installations": there, "broken": broken + ([f"verify_ledger: {said}"] if status else [])}
