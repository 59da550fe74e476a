"""Timings beside public packages: each is an experiment whose both sides run in turn, in processes of their own."""
