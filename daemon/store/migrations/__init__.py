"""The ledger's history: one Alembic revision per change of the schema."""
