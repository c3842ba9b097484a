"""The records: adapters of the store's ports over SQLAlchemy Core."""
