"""`fovea top`: what a running deployment does, read off the metrics of its gateway and its engines."""
