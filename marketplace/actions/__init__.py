"""What happens to apps, versions and installations, in story order: publishing, installing."""

from credentials.actions import NotAReviewer

from .installing import (
    AlreadyInstalled,
    NotInstallable,
    NotUnfinished,
    discard,
    install,
    install_draft,
    is_finished,
    uninstall,
)
from .packaging import keep_vendor_secret, take_package
from .publishing import (
    ClientTaken,
    Frozen,
    NotReady,
    OwnTeam,
    approve_version,
    change_version,
    create_app,
    create_version,
    list_accounts,
    publish_custom,
    publish_version,
    reject_version,
    set_client,
    submit_version,
)

__all__ = [
    "AlreadyInstalled",
    "ClientTaken",
    "Frozen",
    "NotAReviewer",
    "NotInstallable",
    "NotReady",
    "NotUnfinished",
    "OwnTeam",
    "approve_version",
    "change_version",
    "create_app",
    "create_version",
    "discard",
    "install",
    "install_draft",
    "is_finished",
    "keep_vendor_secret",
    "list_accounts",
    "publish_custom",
    "publish_version",
    "reject_version",
    "set_client",
    "submit_version",
    "take_package",
    "uninstall",
]
