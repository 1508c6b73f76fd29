"""What is measured: quality, latency, computation, anticipation."""
