"""The fixed part of the policy in Rego, read by ``policy.compiler`` as package data."""
