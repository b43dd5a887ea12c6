"""The running pipeline. Start with pipeline.py."""
