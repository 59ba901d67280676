"""Our own kernels for CPUs: C++ without torch's or Python's headers, and how they are called."""
