// A GPU for tests: the functions of primitives.h on a CPU. Every thread of every block is a fiber of its own; where threads
// wait for each other they hand over, in an order that is drawn anew each round.

#pragma once
#define ULMKIT_PRIMITIVES

#include <ucontext.h>

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <vector>

#define ULMKIT_KERNEL static
#define ULMKIT_INLINE inline
#ifndef ULMKIT_CLUSTER
#define ULMKIT_CLUSTER 1
#endif

typedef unsigned int uint32;
typedef long long int64;
typedef unsigned long long address;

namespace gpu {

// Threads that wait until all of them have come.
struct Barrier {
    int expected = 0, arrived = 0;
    int64 generation = 0;
};

struct Warp {
    Barrier barrier;
    uint32 left[32][4], right[32][2];
};

struct Block {
    std::vector<char> memory;
    Barrier barrier;
    std::vector<Warp> warps;
};

struct Fiber {
    ucontext_t context;
    std::unique_ptr<char[]> stack;
    int block, thread;
    bool done;
    const Barrier* waits_for;  // null if nothing keeps it
    int64 generation;          // of that barrier, when it came
};

constexpr size_t stack_bytes = 1 << 16;

struct Machine {
    std::vector<Block> blocks;
    std::vector<Barrier> clusters;
    std::vector<Fiber> fibers;
    Fiber* now = nullptr;
    ucontext_t scheduler;
    int threads;
    int64 events = 0;  // barriers passed, words written, fibers ended: without any in a round, all wait for ever
    std::function<void()> kernel;
};

inline Machine machine;

inline Block& block() { return machine.blocks[machine.now->block]; }
inline void hand_over() { swapcontext(&machine.now->context, &machine.scheduler); }

inline void wait(Barrier& barrier) {
    const int64 generation = barrier.generation;
    if (++barrier.arrived == barrier.expected) {
        barrier.arrived = 0;
        ++barrier.generation;
        ++machine.events;
    } else {
        machine.now->waits_for = &barrier;
        machine.now->generation = generation;
        hand_over();
        machine.now->waits_for = nullptr;
    }
}

inline void start() {
    machine.kernel();
    machine.now->done = true;
    ++machine.events;
    swapcontext(&machine.now->context, &machine.scheduler);
}

// Returns: whether all threads came to their end; false if they wait for ever.
inline bool launch(int blocks, int threads, int64 shared_bytes, unsigned seed, std::function<void()> kernel) {
    machine.kernel = kernel;
    machine.threads = threads;
    machine.blocks = std::vector<Block>(blocks);
    machine.clusters = std::vector<Barrier>((blocks + ULMKIT_CLUSTER - 1) / ULMKIT_CLUSTER);
    for (Barrier& each : machine.clusters) each.expected = threads * ULMKIT_CLUSTER;
    for (Block& each : machine.blocks) {
        each.memory.assign(shared_bytes, char(0xff));  // not a number, until it is written
        each.barrier.expected = threads;
        each.warps.resize((threads + 31) / 32);
        for (Warp& warp : each.warps) warp.barrier.expected = 32;
    }
    machine.fibers = std::vector<Fiber>(blocks * threads);
    for (int n = 0; n < blocks * threads; ++n) {
        Fiber& fiber = machine.fibers[n];
        fiber.stack.reset(new char[stack_bytes]);
        fiber.block = n / threads;
        fiber.thread = n % threads;
        fiber.done = false;
        fiber.waits_for = nullptr;
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = fiber.stack.get();
        fiber.context.uc_stack.ss_size = stack_bytes;
        fiber.context.uc_link = &machine.scheduler;
        makecontext(&fiber.context, start, 0);
    }
    std::mt19937 random(seed);
    std::vector<int> order(blocks), alive(blocks, threads);
    for (int n = 0; n < blocks; ++n) order[n] = n;
    for (int running = blocks * threads; running > 0;) {
        const int64 events = machine.events;
        for (int n = blocks - 1; n > 0; --n) std::swap(order[n], order[random() % (n + 1)]);
        for (int n : order) {
            if (alive[n] == 0) continue;
            const int first = random() % threads;
            for (int thread = 0; thread < threads; ++thread) {
                Fiber& fiber = machine.fibers[n * threads + (first + thread) % threads];
                if (fiber.done || (fiber.waits_for && fiber.waits_for->generation == fiber.generation)) continue;
                machine.now = &fiber;
                swapcontext(&machine.scheduler, &fiber.context);
                if (fiber.done) --alive[n], --running;
            }
        }
        if (machine.events == events) return false;
    }
    return true;
}

}  // namespace gpu

inline int block_index() { return gpu::machine.now->block; }
inline int thread_index() { return gpu::machine.now->thread; }
inline int thread_count() { return gpu::machine.threads; }
inline char* shared_memory() { return gpu::block().memory.data(); }
inline int anew(int value) { return value; }
inline void block_barrier() { gpu::wait(gpu::block().barrier); }

inline float exp_of_negative(float x) { return std::exp(x); }
inline float quotient(float a, float b) { return a / b; }
inline float natural_log(float x) { return std::log(x); }

struct alignas(8) Four {
    uint32 low, high;
};

#if defined(ULMKIT_FP32)
typedef float Element;
inline float to_float(Element value) { return value; }
inline Element to_element(float value) { return value; }
#else
struct Element {
    unsigned short bits;
};
#if defined(ULMKIT_BF16)
inline float to_float(Element value) {
    const uint32 wide = uint32(value.bits) << 16;
    float result;
    std::memcpy(&result, &wide, 4);
    return result;
}
inline Element to_element(float value) {
    uint32 bits;
    std::memcpy(&bits, &value, 4);
    if (value != value) return {0x7fff};
    return {(unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}
#else
inline float to_float(Element value) {
    _Float16 narrow;
    std::memcpy(&narrow, &value, 2);
    return narrow;
}
inline Element to_element(float value) {
    const _Float16 narrow = _Float16(value);
    Element result;
    std::memcpy(&result, &narrow, 2);
    return result;
}
#endif

inline Four load_steady(const Element* from) {
    if (reinterpret_cast<uintptr_t>(from) % 8) std::abort();  // as a GPU would
    Four four;
    std::memcpy(&four, from, sizeof four);
    return four;
}

inline Four load_fresh(const Element* from) {
    if (reinterpret_cast<uintptr_t>(from) % 8) std::abort();  // as a GPU would
    Four four;
    std::memcpy(&four, from, sizeof four);
    return four;
}

inline float half_of(uint32 pair, int half) { return to_float(Element{(unsigned short)(pair >> 16 * half)}); }

inline void multiply_accumulate(float (&d)[4], const uint32 (&a)[4], Four b) {
    gpu::Warp& warp = gpu::block().warps[thread_index() / 32];
    const int lane = thread_index() % 32, g = lane / 4, q = lane % 4;
    std::memcpy(warp.left[lane], a, sizeof a);
    warp.right[lane][0] = b.low;
    warp.right[lane][1] = b.high;
    gpu::wait(warp.barrier);
    for (int n = 0; n < 4; ++n) {
        const int row = g + n / 2 * 8, column = 2 * q + n % 2;
        for (int k = 0; k < 16; ++k) {
            // a's element (row, k) and b's (k, column) where the instruction has them
            const uint32 left = warp.left[row % 8 * 4 + k % 8 / 2][row / 8 + k / 8 * 2];
            const uint32 right = warp.right[column * 4 + k % 8 / 2][k / 8];
            d[n] += half_of(left, k % 2) * half_of(right, k % 2);
        }
    }
    gpu::wait(warp.barrier);
}
#endif

inline void cluster_barrier() { gpu::wait(gpu::machine.clusters[block_index() / ULMKIT_CLUSTER]); }

inline float load_of_cluster(const float* place, uint32 block) {
    const int64 offset = reinterpret_cast<const char*>(place) - shared_memory();
    float value;
    std::memcpy(&value, gpu::machine.blocks[block_index() / ULMKIT_CLUSTER * ULMKIT_CLUSTER + block].memory.data() + offset, 4);
    return value;
}

inline void meet(uint32* counter, uint32 blocks, uint32 round) {
    block_barrier();
    if (thread_index() == 0) {
        ++*counter;
        ++gpu::machine.events;
        while (*counter < blocks * round) gpu::hand_over();
    }
    block_barrier();
}
