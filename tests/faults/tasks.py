"""The portal's tasks, by what makes them run."""

from portal.celery import EVERY

# Queued by others for what these find; the seed leaves something for each.
QUEUED = {
    "consent.tasks.revoke_tokens", "consent.tasks.tell_of_ends", "consent.tasks.ask_for_successor",
    "marketplace.tasks.upgrade_itself", "marketplace.tasks.tell_of_offer",
    "portal.accounts.tasks.tell_of_invitation", "portal.accounts.tasks.tell_of_notice", "portal.accounts.tasks.tell_of_suspension",
    "portal.foundation.tasks.send_mail", "portal.ledger.tasks.prepare_export",
}  # fmt: skip
# These would call a vendor, of which a run has none, so they find nothing to do.
WITHOUT_WORK = {
    "marketplace.tasks.refresh_connection", "marketplace.tasks.revoke_connection", "marketplace.tasks.tell_of_broken_connection",
}  # fmt: skip
_WRITING = {
    "consent.tasks.expire", "consent.tasks.erase",
    "portal.accounts.tasks.clear_sent_forms", "portal.accounts.tasks.clear_sessions",
}  # fmt: skip
# {task: where a worker is killed in it}: after its first write, or at its end, before the message is acknowledged.
PLACES = {
    **dict.fromkeys((*EVERY, *WITHOUT_WORK), ("end",)),
    **dict.fromkeys(_WRITING, ("write",)),
    **dict.fromkeys(QUEUED, ("write", "end")),
}
