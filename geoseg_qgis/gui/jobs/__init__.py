"""Runs of algorithms in the background, and the page that lists them."""
