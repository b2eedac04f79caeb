"""Benchmarks: every figure has the command that produces it and a figure to compare with."""
