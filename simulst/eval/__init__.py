"""Evaluation: datasets and the runner, logs, resegmentation, latency and quality, curves and reports."""
