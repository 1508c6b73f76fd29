"""Speech LLMs of the hub: audio stands in a prompt as embeddings, a causal language model writes after it."""
