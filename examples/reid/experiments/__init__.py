"""Experiments: what is trained and scored, compared and written down."""
