"""The link, the recorder and the bundle swap as a Promela model, and the command that checks it with spin."""
