from __future__ import annotations

import base64
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.base import Coordinates
from sinks.backoff import CEILING, delay
from sinks.config import ParquetConfig, RedisConfig, VenueConfig, WebhookConfig
from sinks.letters import letter_of
from sinks.sink import identifier

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+-]{0,199}")


@pytest.fixture
def secret_file(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    return path


def test_webhook_when_complete_reads_its_secret(secret_file):
    assert WebhookConfig(url="https://example.org/a", secret_file=secret_file).secrets() == [SECRET]


def test_webhook_when_secret_stands_in_the_environment_reads_both_of_a_rotation(monkeypatch):
    monkeypatch.setenv("HOOK", f"{SECRET} {SECRET}")
    assert WebhookConfig(url="http://127.0.0.1:9/", secret_env="HOOK").secrets() == [SECRET, SECRET]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("example.org", "no address"),
        ("ftp://example.org", "no address"),
        ("http://example.org/hook", "unencrypted"),
        ("http://10.0.0.1/hook", "unencrypted"),
    ],
)
def test_webhook_when_the_address_is_unusable_refuses(secret_file, url, says):
    with pytest.raises(ValueError, match=says):
        WebhookConfig(url=url, secret_file=secret_file)


def test_webhook_when_plaintext_is_meant_takes_it(secret_file):
    assert WebhookConfig(url="http://10.0.0.1/", secret_file=secret_file, allow_plaintext=True)


@pytest.mark.parametrize("text", ["", "hunter2", "whsec_!!!", "whsec_c2hvcnQ=", "whsec_" + "A" * 2000])
def test_webhook_when_the_secret_is_none_refuses_without_showing_it(tmp_path, text):
    path = tmp_path / "secret"
    path.write_text(text)
    with pytest.raises(ValueError, match="secret") as raised:
        WebhookConfig(url="https://example.org/", secret_file=path)
    assert not text or text not in str(raised.value)


def test_webhook_when_no_secret_is_named_refuses():
    with pytest.raises(ValueError, match="secret_file or secret_env"):
        WebhookConfig(url="https://example.org/")


def test_redis_when_the_url_holds_a_password_never_says_it():
    assert RedisConfig(url="redis://user:hunter2@example.org:6380/1").where == "example.org:6380"


def test_redis_when_password_is_in_a_file_reads_it(tmp_path):
    path = tmp_path / "pw"
    path.write_text("hunter2\n")
    assert RedisConfig(url="redis://h", password_file=path).password() == "hunter2"


@pytest.mark.parametrize("fee", ["-1", "NaN", "Infinity"])
def test_venue_when_the_fee_makes_no_sense_refuses(fee):
    with pytest.raises(ValueError, match="fee"):
        VenueConfig(fee=Decimal(fee))


def test_parquet_when_given_an_unknown_key_refuses(tmp_path):
    with pytest.raises(ValueError, match="colour"):
        ParquetConfig(folder=tmp_path, colour="red")  # type: ignore[call-arg]


@given(st.integers(1, 10_000))
def test_delay_when_attempts_grow_stays_between_half_and_whole_of_a_bounded_base(attempt):
    base = min(0.5 * 2.0 ** min(attempt - 1, 30), CEILING)
    assert base / 2 <= delay(attempt) <= base


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_identifier_when_made_of_anything_is_valid_and_repeatable(parts):
    assert IDENTIFIER.fullmatch(identifier(*parts))
    assert identifier(*parts) == identifier(*parts)


def test_dead_letter_when_written_twice_is_the_same():
    at = Coordinates(topic="alerts", partition=1, offset=2)
    first, again = (letter_of("redis", at, "k\udcff", b"x" * 70_000, 0, "r" * 3000) for _ in range(2))
    assert first == again
    assert (first.letter_id, first.size, len(first.raw)) == ("redis/alerts/1/2", 70_000, 65_536)
