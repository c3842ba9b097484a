"""The SDK for agents and applications: identities, bound tokens, transports that renew them."""
