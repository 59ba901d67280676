// Helpers of the simple kernels: a thread's global index, and reductions over a block.

#pragma once

#include "primitives.h"

// Index of this thread among those of all blocks.
ULMKIT_INLINE int64 place_of_thread() { return (int64)block_index() * thread_count() + thread_index(); }

// Reduces the values of all threads of a block, and returns the result to each. The number of threads is a power of two, and
// shared memory has room for a value of each. combine(a, b) must be associative and commutative.
template <class Value, class Combine>
ULMKIT_INLINE Value combined(const Value& mine, Combine combine) {
    Value* values = (Value*)shared_memory();
    values[thread_index()] = mine;
    for (int half = thread_count() / 2; half > 0; half /= 2) {
        block_barrier();
        if (thread_index() < half) values[thread_index()] = combine(values[thread_index()], values[thread_index() + half]);
    }
    block_barrier();
    return values[0];
}
