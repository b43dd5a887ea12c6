"""Exactly-once runtime on Kafka: partitions, state, transactions. Knows nothing of energy."""
