"""Somebody else's network and game: looked at, diagnosed, graded."""
