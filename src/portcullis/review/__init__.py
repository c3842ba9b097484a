"""What joins log, policy, catalogue and settings: evidence, and where it is missing."""
