"""TLS on the way to PostgreSQL: what the URL of a database says of it, and what connections use.

parameters   what a URL and the settings ask for, and which URLs are refused
link         the link of all connections of this process to one URL
"""
