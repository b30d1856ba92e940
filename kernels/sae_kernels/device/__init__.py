"""The Triton kernels and what launches them; imported only where Triton is there and the path asks for it."""
