from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    name = "marketplace"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from consent.pages import register_installations
        from credentials.redirect_uris import register_hosted

        register_hosted("oauth-callback")
        from .actions.installing import install_to_try
        from .pages import addresses_of

        register_installations(
            view="installation-view", connect="installation-connect", addresses=addresses_of, install=install_to_try
        )
