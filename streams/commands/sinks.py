"""Which sinks the settings set up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pydantic import ValidationError

from sinks.config import ParquetConfig, RedisConfig, VenueConfig, WebhookConfig
from sinks.sink import Service, Sink
from streams.settings import Settings, SettingsError

AnySink = Sink | Service


def build(settings: Settings, names: Sequence[str] = ()) -> list[AnySink]:
    """The sinks that are set up; with ``names`` those, which then must be.

    Raises SettingsError when a named one is unknown or not set up, when none is, or when a setting cannot be used.
    """
    makers: dict[str, tuple[Callable[[], AnySink] | None, str]] = {
        "webhook": (_webhook(settings), "GRIDTAPE_WEBHOOK_URL and GRIDTAPE_WEBHOOK_SECRET_FILE"),
        "redis": (_redis(settings), "GRIDTAPE_REDIS"),
        "terminal": (_terminal if settings.terminal or "terminal" in names else None, "GRIDTAPE_TERMINAL=true"),
        "venue": (_venue if settings.venue else None, "GRIDTAPE_VENUE=true"),
        "parquet": (_parquet(settings), "GRIDTAPE_PARQUET_DIR"),
    }
    if unknown := [name for name in names if name not in makers]:
        raise SettingsError(f"no sink {', '.join(unknown)}; there are {', '.join(makers)}")
    if missing := [f"{name} (set {makers[name][1]})" for name in names if makers[name][0] is None]:
        raise SettingsError(f"not set up: {', '.join(missing)}")
    chosen = [make for name, (make, _) in makers.items() if make is not None and (not names or name in names)]
    if not chosen:
        ways = ", ".join(f"{setting} for {name}" for name, (_, setting) in makers.items())
        raise SettingsError(f"no sink is set up; set {ways}")
    try:
        return [make() for make in chosen]
    except ValidationError as error:
        raise SettingsError("\n".join(f"sink setting: {e['msg']}" for e in error.errors())) from error
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"a sink needs the module {error.name}, which is not installed; pip install 'gridtape[all]'"
        ) from error


# The sinks' libraries are optional extras, so each is imported only where it is set up.


def _webhook(settings: Settings) -> Callable[[], AnySink] | None:
    url, secret = settings.webhook_url, settings.webhook_secret_file
    if url is None:
        return None

    def make() -> AnySink:
        from sinks.webhook import Webhook

        return Webhook(WebhookConfig(url=url, secret_file=secret))

    return make


def _redis(settings: Settings) -> Callable[[], AnySink] | None:
    url = settings.redis
    if url is None:
        return None

    def make() -> AnySink:
        from sinks.redis import RedisStreams

        return RedisStreams(RedisConfig(url=url))

    return make


def _terminal() -> AnySink:
    from sinks.terminal import Terminal

    return Terminal()


def _venue() -> AnySink:
    from sinks.trades import Venue

    return Venue(VenueConfig())


def _parquet(settings: Settings) -> Callable[[], AnySink] | None:
    folder = settings.parquet_dir
    if folder is None:
        return None

    def make() -> AnySink:
        from sinks.parquet import Parquet

        return Parquet(ParquetConfig(folder=folder, topics=tuple(settings.parquet_topics)))

    return make
