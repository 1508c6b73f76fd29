"""From a log and references to named scores with intervals."""
