"""A run: read, written stage by stage, found, and traced back to what it depends on."""
