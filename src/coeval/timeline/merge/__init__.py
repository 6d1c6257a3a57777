"""Merging: sources of any size into one timeline."""
