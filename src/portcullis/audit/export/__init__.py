"""What others get of the log: read as it is published, delivered at least once."""
