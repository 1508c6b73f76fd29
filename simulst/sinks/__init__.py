"""Where a translation goes: text, subtitles, JSON lines, the terminal; the formats of files by name."""

from simulst.sinks.formats import SINKS, format_of, open_sink, sink_class

__all__ = ["SINKS", "format_of", "open_sink", "sink_class"]
