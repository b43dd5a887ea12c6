"""What leaves: alerts to people, trades to a venue, everything to files. Start with sink.py."""
