"""Bundles on the box: a store of verified versions, one switch between them, a version floor and revocation."""
