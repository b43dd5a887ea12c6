"""Store and forward: records wait on disk while Kafka takes none. Start with forwarder.py."""
