"""Pages, tables and curves for people."""
