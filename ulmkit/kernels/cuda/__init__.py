"""The fused LSTM on NVIDIA GPUs: CUDA sources, compiled when they are first needed."""
