"""Real services for a laptop, from wheels: Apache Kafka, Redis, an MQTT broker."""
