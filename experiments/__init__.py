"""Experiments: each is a claim with its cost, its command and its figure. They run from a checkout: `python -m experiments`."""
