"""Closed forms and bounds that no member of a class can beat."""
