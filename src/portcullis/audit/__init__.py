"""The audit log: an append journal, a Merkle tree over it, and what anyone can check of it."""
