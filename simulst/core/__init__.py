"""What everything else rests on: the session loop, the commit log, events, and the protocols of policies and translators."""
