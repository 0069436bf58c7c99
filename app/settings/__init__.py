"""Everything that can be set from outside, read once from the environment when the process starts.

A setting is an environment variable of the field's name in upper case. A `.env` file is read as well, unless the environment says that
this is production; the environment wins over it. An empty variable is one that is not set.
"""

from app.settings.kinds import Environment, ExecutionMode, LogFormat, LogLevel, PaymentProviderName, ResponseCacheMode, TrustedDocumentsMode
from app.settings.model import Settings
from app.settings.reading import SettingsError, read_settings, settings_table

__all__ = [
    "Environment",
    "ExecutionMode",
    "LogFormat",
    "LogLevel",
    "PaymentProviderName",
    "ResponseCacheMode",
    "Settings",
    "SettingsError",
    "TrustedDocumentsMode",
    "read_settings",
    "settings_table",
]
