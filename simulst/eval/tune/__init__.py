"""Search of a policy and its parameters under a limit of latency."""
