"""Measuring learners and solvers over many tasks."""
