"""Benchmarks against the tools that others use for the same work; see README.rst."""
