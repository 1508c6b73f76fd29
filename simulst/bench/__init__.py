"""Benchmarks behind `simulst bench`; every figure is measured in the run that prints it."""
