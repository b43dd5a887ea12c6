"""The sinks' metrics. One process has one registry; the label says which sink."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

DELIVERED = Counter("gridtape_sink_delivered_total", "Records that the destination has taken.", ["sink", "topic"])
RETRIES = Counter("gridtape_sink_retries_total", "Attempts that failed and were made again.", ["sink"])
DEAD_LETTERS = Counter("gridtape_sink_dead_letters_total", "Records put aside as dead letters.", ["sink", "topic"])
RESTARTS = Counter(
    "gridtape_sink_restarts_total", "Times that a sink failed as a whole and was started anew.", ["sink"]
)
LAG = Gauge(
    "gridtape_sink_lag_messages", "Records in Kafka that the sink has not read yet.", ["sink", "topic", "partition"]
)
UP = Gauge("gridtape_sink_up", "1 while the sink delivers, 0 while its destination is away or it has ended.", ["sink"])
ORDERS = Counter(
    "gridtape_venue_orders_total", "Orders that came to an end at the simulated venue.", ["venue", "outcome"]
)
WAITING = Gauge("gridtape_venue_waiting_orders", "Orders that wait for a price within their limit.", ["venue"])
