"""Section 8: whether what was learnt from faces helps with another topic."""
