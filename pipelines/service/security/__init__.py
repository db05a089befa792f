"""Who asks, from where, and how much."""
