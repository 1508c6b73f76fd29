"""Logs of runs, ours and those of other tools."""
