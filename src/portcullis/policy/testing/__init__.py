"""Policies are tested: cases in YAML, ``test_`` rules in Rego, coverage, mutants."""
