"""What happens, in which order: stories made of core rules and neighbours."""
