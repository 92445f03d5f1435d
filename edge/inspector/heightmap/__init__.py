"""From a camera's frame to the 8-bit heightmap that a network was trained on."""
