import re

from django.db import migrations

_EXPRESSION = re.compile(r"<%=.*?%>")


def services(package, client_id):
    """The vendors of a package by name, and the hosts that it calls without the token of an integration."""
    integrations = package.get("config/oauth_config.json", {}).get("integrations", {})
    names = {one.get("display_name", name) for name, one in integrations.items() if one.get("client_id") != client_id}
    for template in package.get("config/requests.json", {}).values():
        if not template.get("options", {}).get("oauth"):
            names.add(_EXPRESSION.sub("*", template["schema"]["host"]))
    return sorted(names)


def fill(apps, schema_editor):
    """Have the accesses of installed versions say where these reach, as new ones do."""
    installation, access = apps.get_model("marketplace", "Installation"), apps.get_model("consent", "Access")
    rows = installation.objects.exclude(access=None).values_list("access", "version__package", "app__client__client_id")
    for pk, package, client_id in rows.iterator():
        if named := services(package, client_id):
            access.objects.filter(pk=pk).update(services=named)


class Migration(migrations.Migration):
    dependencies = [("marketplace", "0010_connection_notes"), ("consent", "0011_services")]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
