"""Facial expression recognition as coursework that reproduces itself."""

__version__ = "0.1.0"
