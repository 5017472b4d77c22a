"""Holds the version of the public API, and refuses plugins that need another one.

A plugin may say what it needs by a line in its module: `alignkit_api = "1.0"`. The first number changes where
something is taken away or means something else; the second, where something is added.
"""

from __future__ import annotations

import re
from typing import Any

from alignkit.errors import UserError

API_VERSION = "1.0"
"""The version of what `alignkit` and `alignkit.testing` offer, as "major.minor"."""

ATTRIBUTE = "alignkit_api"
"""The name of the line in a plugin's module that says which version the plugin needs."""


def require_compatible(module: Any, plugin: str) -> None:
    """Refuse a plugin that needs another version of the API. plugin: its name and source, for messages.

    Raises UserError, with both versions and which side to upgrade.
    """
    needed = getattr(module, ATTRIBUTE, None)
    if needed is None:
        return
    if not isinstance(needed, str) or not re.fullmatch(r"\d+\.\d+", needed):
        raise UserError(
            f'{plugin} has {ATTRIBUTE} = {needed!r}; text of the form "major.minor" is expected',
            hint=f'Write {ATTRIBUTE} = "{API_VERSION}".',
        )
    (major, minor), (our_major, our_minor) = _numbers(needed), _numbers(API_VERSION)
    if major == our_major and minor <= our_minor:
        return
    older = "the plugin" if major < our_major else "alignkit"
    raise UserError(
        f"{plugin} needs version {needed} of alignkit's API; this alignkit has version {API_VERSION}",
        hint=f"Upgrade {older}, which is the older one.",
    )


def _numbers(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)
