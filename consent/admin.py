from typing import Any

from django.contrib import admin
from django.http import HttpRequest


class HiddenAdmin(admin.ModelAdmin):
    """For models that the toolkit would register: nobody may browse codes, families and tokens, so they have no page."""

    def get_urls(self) -> list[Any]:
        return []

    def has_module_permission(self, request: HttpRequest) -> bool:
        return False

    has_view_permission = has_add_permission = has_change_permission = has_delete_permission = (
        lambda self, request, obj=None: False
    )
