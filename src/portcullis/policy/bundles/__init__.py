"""Policy bundles in OPA's format: written, signed, read and verified."""
