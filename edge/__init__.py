"""What runs on the edge box: the gate, the inspector and the values they share."""

__version__ = "0.1.0"
"""Of the whole distribution; `pyproject.toml` says the same."""
