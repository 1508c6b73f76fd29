"""Where a translation goes: text, subtitles, JSON lines, the terminal."""
