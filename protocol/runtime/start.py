"""The first thing every command does, before it reads the chain or the store."""

from protocol.runtime.logs import set_up_logging
from protocol.runtime.settings import Settings, load_settings


def start_process() -> Settings:
    """Read the settings and send the log where they say; raises SettingsError."""
    settings = load_settings()
    set_up_logging(settings.log_format, settings.log_level)
    return settings
