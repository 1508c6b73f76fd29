"""Interfaces of OpenAI's API over the streams of a live server."""
