"""The layers of the Sliced Recursive Transformer, smallest first: residual, attention, projection, block, recursion."""
