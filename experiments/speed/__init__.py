"""Timings, beside public packages and at scale: each is an experiment whose both sides run in processes of their own."""
