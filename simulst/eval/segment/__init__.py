"""From one long stream of words to the reference's segments."""
