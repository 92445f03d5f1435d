"""A camera, a robot and synthetic welds, for the demo, commissioning and tests."""
