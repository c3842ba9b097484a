"""The policy: YAML compiles to Rego, one engine evaluates it, default deny."""
