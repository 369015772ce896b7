"""The access token of the user's Hugging Face account, in QGIS's authentication database.

It is encrypted with the master password there. It leaves the database only for the engine that
downloads models, in the environment of that process.
"""

from __future__ import annotations

from typing import Dict

from qgis.core import QgsApplication

VARIABLE = "HF_TOKEN"
_ENTRY = "geoseg/hugging_face"


def is_stored() -> bool:
    """Return whether there is a token; this asks for no password."""
    return bool(QgsApplication.authManager().existsAuthSetting(_ENTRY))


def store(token: str) -> bool:
    """Store a token, or remove the stored one if ``token`` is empty; call on the main thread.

    Returns:
        Whether that worked; not, for example, if the user does not enter the master password.
    """
    manager = QgsApplication.authManager()
    if not token:
        return not is_stored() or bool(manager.removeAuthSetting(_ENTRY))
    if manager.isDisabled() or not manager.setMasterPassword(True):
        return False
    return bool(manager.storeAuthSetting(_ENTRY, token, True))


def variables() -> Dict[str, str]:
    """Return the variable with the token for a download, none without one.

    Call it on the main thread, as QGIS may ask for the master password.
    """
    manager = QgsApplication.authManager()
    if not is_stored() or manager.isDisabled() or not manager.setMasterPassword(True):
        return {}
    token = manager.authSetting(_ENTRY, "", True)
    return {VARIABLE: token} if token else {}
