"""Speech encoders: block-causal with caches (`block_causal`), or re-run over a bounded window (`windowed`)."""
