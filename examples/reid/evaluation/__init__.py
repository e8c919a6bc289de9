"""Scores of rankings, from distances or features; no camera is known here."""
