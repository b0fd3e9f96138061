"""What serves CUDA devices only; nothing here is imported where Triton or a device is missing."""
