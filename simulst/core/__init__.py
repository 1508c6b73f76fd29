"""What everything rests on: session loop, commit log, events, and the protocols of policies and translators."""
