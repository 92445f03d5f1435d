"""The fixtures of the running inspector, for this folder's tests."""

from cell_kit import cell, scan, start

__all__ = ["cell", "scan", "start"]
