// What simple kernels do as a block: each thread takes a place of its own, and all combine what they have found.

#pragma once

#include "primitives.h"

// Of this thread among those of all blocks.
ULMKIT_INLINE int64 place_of_thread() { return (int64)block_index() * thread_count() + thread_index(); }

// What all threads' values combine to, known to each of them. The block has a power of two of threads, and shared memory for
// a value of each. combine(a, b): the same in any order.
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
