"""What a broker brings: every topic with what is in it, and the settings that read what can be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tomlkit.items import Table

from connectors.discovery.found import Found, Line
from connectors.mqtt import topics
from connectors.mqtt.discovery.guess import TOO_MANY, Guess, guess
from connectors.mqtt.discovery.heard import Heard
from connectors.mqtt.discovery.listen import Hearing
from connectors.mqtt.discovery.readings import Topic
from connectors.mqtt.discovery.settings import fill, path
from connectors.sparkplug.address import NAMESPACE

_SPARKPLUG = f"{NAMESPACE}/"


def discover(mqtt: Table, hearing: Hearing, filters: Sequence[str]) -> Found:
    """Fill the section ``mqtt`` with what reads the topics that were heard, those of Sparkplug aside.

    ``filters``: what was listened for.
    """
    found = Found()
    if hearing.enough:
        found.notes.append(f"listening ended after {hearing.seconds:.1f} s: {hearing.enough}")
    other = [one.topic for one in hearing.heard if one.topic.startswith(_SPARKPLUG)]
    guessed = guess([one for one in hearing.heard if not one.topic.startswith(_SPARKPLUG)], other)
    found.lines += _lines(guessed, hearing.seconds)
    found.notes += _notes(guessed, hearing.heard, filters, hearing.seconds)
    found.devices += guessed.devices
    if guessed.subscriptions:
        hearing.put_version(mqtt)
        fill(mqtt, guessed, hearing.seconds)
        found.readable = True
    return found


def _lines(guessed: Guess, seconds: float) -> Iterator[Line]:
    for topic in guessed.topics:
        seen, kind = _seen(topic.heard, seconds), topic.form.kind.value
        for point, leaf in zip(topic.points, topic.form.leaves, strict=True):
            value = f"{leaf.value:.6g} {leaf.unit}".strip()
            yield Line(f"{topic.device}/{point.name}", _place(topic, leaf.path), kind, value, seen)
    for heard, state in guessed.stating:
        words = heard.payloads[-1].raw.decode(errors="replace")
        device = state.device or (topics.parse(state.filter).match(heard.topic) or {})["device"]
        yield Line(device, heard.topic, "status", words, _seen(heard, seconds))
    for one in guessed.unread:
        yield Line("", one.heard.topic, one.form.kind.value, one.form.shown, f"not read: {one.why}")


def _place(topic: Topic, steps: tuple[str, ...]) -> str:
    whole = path(((*(topic.form.each or ()), "*", *steps) if topic.form.each else steps) or None)
    shown = ".".join(whole) if isinstance(whole, list) else whole
    return f"{topic.heard.topic} {shown}" if shown else topic.heard.topic


def _seen(heard: Heard, seconds: float) -> str:
    return f"{heard.live / max(seconds, 0.1):.2g}/s" if heard.live else "retained"


def _notes(guessed: Guess, heard: Sequence[Heard], filters: Sequence[str], seconds: float) -> Iterator[str]:
    if not heard:
        yield (
            f"nothing came on {', '.join(filters)} within {seconds:.0f} s: do devices publish to this broker, may this "
            "user read it (access rules), is --for long enough?"
        )
    if left_out := sum(one.why == TOO_MANY for one in guessed.unread):
        yield f"{left_out} topics are not read: {TOO_MANY}; --filter chooses some of them"
    for topic in guessed.topics:
        yield from (f"{topic.heard.topic}: {hint}" for hint in topic.form.hints)
    if any(topic.form.time is None for topic in guessed.topics):
        yield "values without a time of their own get the time at which they are received"
    if kept := sum(not topic.heard.live for topic in guessed.topics):
        yield f"{kept} topics were kept by the broker and not sent meanwhile; a longer --for shows whether they live"
