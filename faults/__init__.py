"""The fault suite: every row of the fault catalogue, injected into the product and counted."""
