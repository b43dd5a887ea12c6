"""MQTT in."""
