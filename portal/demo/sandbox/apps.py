from django.apps import AppConfig


class SandboxConfig(AppConfig):
    name = "portal.demo.sandbox"
    default_auto_field = "django.db.models.BigAutoField"
