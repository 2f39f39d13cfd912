"""Somebody else's `.keras` files: looked at, then opened."""
