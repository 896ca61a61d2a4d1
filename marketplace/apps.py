from django.apps import AppConfig


class MarketplaceConfig(AppConfig):
    name = "marketplace"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from consent.pages import register_installation_pages
        from credentials.redirect_uris import register_hosted

        register_hosted("oauth-callback")
        from .pages import addresses_of

        register_installation_pages(view="installation-view", connect="installation-connect", addresses=addresses_of)
