"""The user's own configuration file: ``$INTERP_CONFIG``, else ``config.yaml`` in the user's configuration folder."""

import os
from dataclasses import dataclass, field, fields
from pathlib import Path

from interp_registry.errors import ConfigError, UnknownNameError

__all__ = ["UserConfig", "user_config", "user_config_path"]


@dataclass
class UserConfig:
    """Settings that hold for every command of this user."""

    home: Path | None = None
    """folder of runs, features and caches; INTERP_HOME overrides it"""
    trackers: list[str] = field(default_factory=list)
    """trackers that every run uses, e.g. [aim]"""
    offline: bool = False
    """never use the network"""
    device: str | None = None
    """device that runs use when --device is not given"""
    blocked_plugins: list[str] = field(default_factory=list)
    """plugins that are not loaded"""


def user_config_path() -> Path:
    """Where the user's configuration file is, whether it exists or not."""
    explicit = os.environ.get("INTERP_CONFIG")
    if explicit:
        return Path(explicit).expanduser()
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "interp" / "config.yaml"


def user_config() -> UserConfig:
    """Read the user's configuration; defaults when there is no file.

    Raises:
        ConfigError: The file is no YAML mapping or a value has the wrong type.
        UnknownNameError: It has a field that does not exist.
    """
    path = user_config_path()
    if not path.is_file():
        return UserConfig()
    import draccus

    from interp_registry.config_io.yaml_files import read_yaml

    raw = read_yaml(path)
    known = [f.name for f in fields(UserConfig)]
    for key in raw:
        if key not in known:
            raise UnknownNameError("setting", key, known, str(path))
    try:
        return draccus.decode(UserConfig, raw)
    except draccus.utils.DraccusException as err:
        raise ConfigError(f"{path}: {err}") from err
