from collections.abc import Iterable

from django.apps import AppConfig


class CredentialsConfig(AppConfig):
    name = "credentials"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from portal.accounts.lookalikes import reserve_names

        reserve_names(_names_of_products)


def _names_of_products() -> Iterable[str]:
    from .models import Product

    return Product.objects.values_list("name", flat=True)
