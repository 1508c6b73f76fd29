"""Live subtitles: cues and their file formats, the server with its page, and the terminal view."""
