"""What ``tools/train-injection`` is made of."""
