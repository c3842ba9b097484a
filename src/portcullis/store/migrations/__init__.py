"""Alembic's environment (``env.py``) and the steps of the schema (``versions``)."""
