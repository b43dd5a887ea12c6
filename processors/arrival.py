"""Arrival: an intent meets the market price, where the ticks are, and goes on to its book. See docs/processors.md."""

from __future__ import annotations

from processors.processor import Batch, Emitter, Processor, State
from processors.quotes import NOTHING, Quote, after_gap, after_tick, too_far_ahead
from processors.wording import derived_id, misplaced
from schemas import topics
from schemas.gaps import Feed
from schemas.intents import Intent, PricedIntent
from schemas.positions import MarkStatus


class Arrival(Processor):
    """Puts the newest live quote of the instrument beside each intent and sends both to the intent's book."""

    name = "arrival"
    reads = (topics.intents, topics.ticks, topics.gaps)
    writes = (topics.priced_intents,)
    newest_only = frozenset({topics.ticks})

    quotes = State(Quote)
    """By instrument."""

    def on_batch(self, batch: Batch, out: Emitter) -> None:
        """Remember the market; price intents."""
        for index, value in enumerate(batch.values):
            if batch.topic is topics.intents:
                if not misplaced(batch, index, value.instrument):
                    self._intent(batch, index, value, out)
            elif batch.topic is topics.ticks:
                if reason := too_far_ahead(value):
                    batch.reject(index, reason)
                elif not misplaced(batch, index, value.instrument):
                    before = self.quotes.get(value.instrument) or NOTHING
                    self._remember(value.instrument, before, after_tick(before, value, batch.at(index)))
            elif value.feed is Feed.TICKS and not misplaced(batch, index, value.key):
                before = self.quotes.get(value.key) or NOTHING
                self._remember(value.key, before, after_gap(before, value, batch.at(index)))

    def _remember(self, instrument: str, before: Quote, quote: Quote) -> None:
        if quote is not before:
            self.quotes.put(instrument, quote)

    def _intent(self, batch: Batch, index: int, intent: Intent, out: Emitter) -> None:
        quote = self.quotes.get(intent.instrument) or NOTHING
        live = quote.status is MarkStatus.LIVE
        priced = PricedIntent(
            intent=intent,
            intent_at=batch.at(index),
            bid=quote.bid if live else None,
            ask=quote.ask if live else None,
            mark=quote.mark if live else None,
            priced_by=quote.at,
            price_time=quote.event_time or None,
            price_reason=quote.why,
            event_time=intent.event_time,
            receive_time=intent.receive_time,
        )
        event_id = derived_id("priced", batch.at(index))
        out.append(topics.priced_intents, intent.book, priced, event_id=event_id)
