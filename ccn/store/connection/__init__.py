"""Connections to PostgreSQL: the pool, errors, migrations, roles, and what a database has to show first."""
