"""Speech LLM: a streaming encoder whose frames stand between the tokens of a causal language model."""
