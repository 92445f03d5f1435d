"""Mutation testing of the safety core: every small change of its code must make a test fail, or be explained in survivors.toml."""
