from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "portal.accounts"
    default_auto_field = "django.db.models.BigAutoField"

    def import_models(self) -> None:
        super().import_models()
        # Its one table belongs to this app, which has migrations.
        from portal.foundation import models  # noqa: F401

    def ready(self) -> None:
        from portal.ledger.reading import register_people

        from . import seen

        register_people(seen)
