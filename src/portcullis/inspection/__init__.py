"""Pure text to findings: patterns, personal data, secrets, injection, canaries, masking."""
