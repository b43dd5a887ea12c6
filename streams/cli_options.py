"""What several commands take, and how it becomes settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from streams.settings import Settings

Kafka = Annotated[str | None, typer.Option("--kafka", help="host:port of Kafka; instead of GRIDTAPE_KAFKA.")]


def settings_from(**given: Any) -> Settings:
    """The settings, with what the command line gives; imports them only now. Raises SettingsError."""
    from streams.settings import Settings

    return Settings.load(**given)
