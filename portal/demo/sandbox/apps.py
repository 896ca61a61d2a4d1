from django.apps import AppConfig


class SandboxConfig(AppConfig):
    name = "portal.demo.sandbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from credentials.trying import register_call
        from portal.accounts.actions.teams import after_test_account

        from .samples import put_samples

        after_test_account(put_samples)
        register_call("sandbox-tickets", query="per_page=20", needs="freshservice.tickets.view", reset="sandbox-reset")
