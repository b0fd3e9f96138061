"""Native kernels: the same bits as the compositions, faster.

The C++ sources are compiled once per user with the system's compiler and loaded through ctypes.
Nothing depends on them: without a compiler, on another processor, or when a kernel fails its
self-test, the pure PyTorch path serves.

INVARIANT: a kernel may replace a composition only while it returns the same bits.
"""
