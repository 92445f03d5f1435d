"""Experiments: one TOML file each, run to rows of one table."""
