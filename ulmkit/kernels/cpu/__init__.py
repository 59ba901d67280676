"""Fused CPU kernels: C++ that needs neither torch's nor Python's headers, and the Python that calls it.

Each `path_*.cpp` compiles all kernels for one instruction set and one element type, in a namespace of its own. It
includes `path.h`, which includes the pieces inside that namespace; they are therefore named `*-inl.h`:

    vectors-inl.h, transpose-inl.h    vectors of floats and transposes in them
    engine_*-inl.h                    matrix products, and the layout of their operands
    lstm_*-inl.h                      the LSTM on top of an engine: packing, forward, backward, int8
    cross_entropy-inl.h               linear layer and softmax cross-entropy in blocks of rows
    keep_bits-inl.h                   random bits for masks
    document_vectors-inl.h            vectors of documents and n-grams

`kernels.h` declares the arguments with their shapes. `library.cpp` exports the functions that `library.py` calls.
`fused_lstm.py` and `fused_cross_entropy.py` wrap them as operations that torch differentiates.
"""
