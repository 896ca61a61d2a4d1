from django.apps import AppConfig


class ConsentConfig(AppConfig):
    name = "consent"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from credentials.trying import register_callback
        from portal.accounts.actions.memberships import after_admins_change
        from portal.accounts.actions.suspensions import register_concerned
        from portal.accounts.entrance import register_destination

        from .actions.succeeding import queue_successor
        from .seen import accounts_with_access

        register_concerned("client", accounts_with_access)
        after_admins_change(queue_successor)
        register_destination("oauth-authorize")
        register_callback("client-test-callback")
