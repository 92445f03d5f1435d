"""Learning from the line: welds that operators relabelled, from a box's record export and image archive into a training folder."""
