"""Two PostgreSQL servers of `ccn up --standby`, of which one leads and the other takes over."""
