"""Transformers as optimisation algorithms."""
