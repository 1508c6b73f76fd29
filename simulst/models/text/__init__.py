"""Text to text: the second half of cascades and of the text task."""
