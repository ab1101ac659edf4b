"""The PostgreSQL of `ccn up`: its folder, its process, and how it is made and stopped."""
