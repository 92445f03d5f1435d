"""Architectures and checkpoint files that train and export share."""
