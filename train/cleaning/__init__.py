"""Cleaning a labelled folder: find what is probably wrong in it, show it to somebody, and apply what they decided, reversibly."""
