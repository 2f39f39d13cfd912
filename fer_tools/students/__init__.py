"""Notebooks for students from the one source: what is handed out, and what a student's copy still lacks."""
