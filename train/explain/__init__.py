"""Where a network looked: class activation maps and Grad-CAM, drawn, and held against where the defects really are."""
