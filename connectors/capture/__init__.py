"""Trying settings out without Kafka; recording what goes over the wire and playing it back. See rehearsal.py."""
