"""The decisions: pure, engine-neutral processors. Start with processor.py (the interface), then positions.py."""
