from django.apps import AppConfig


class ConsentConfig(AppConfig):
    name = "consent"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from portal.accounts.actions.memberships import after_admins_change
        from portal.accounts.entrance import register_destination

        from .actions.succeeding import queue_successor

        after_admins_change(queue_successor)
        register_destination("oauth-authorize")
