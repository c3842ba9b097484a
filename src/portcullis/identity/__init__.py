"""Who is calling: the issuer's key, tokens, and the way from a credential to a principal."""
