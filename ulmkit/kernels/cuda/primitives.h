// GPU primitives of the kernels, without any other header. ULMKIT_BF16, ULMKIT_FP16 or ULMKIT_FP32 selects the element type.
//
// The tests implement the same functions in C++ to run the kernels on a CPU.

#ifndef ULMKIT_PRIMITIVES
#define ULMKIT_PRIMITIVES

typedef unsigned int uint32;
typedef long long int64;
typedef unsigned long long address;

#define ULMKIT_KERNEL extern "C" __global__
#define ULMKIT_INLINE __device__ __forceinline__

ULMKIT_INLINE int block_index() { return blockIdx.x; }
ULMKIT_INLINE int thread_index() { return threadIdx.x; }
ULMKIT_INLINE int thread_count() { return blockDim.x; }

ULMKIT_INLINE char* shared_memory() {
    extern __shared__ __align__(128) char memory[];
    return memory;
}

// Hides a value from the optimizer: what depends on it is recomputed in each iteration instead of occupying registers.
ULMKIT_INLINE int anew(int value) {
    asm volatile("" : "+r"(value));
    return value;
}

ULMKIT_INLINE void block_barrier() { __syncthreads(); }

// e^x for x <= 0
ULMKIT_INLINE float exp_of_negative(float x) {
    float y;
    asm("ex2.approx.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504088896341f));
    return y;
}

// a / b for 1 <= b <= 2
ULMKIT_INLINE float quotient(float a, float b) {
    float reciprocal;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(reciprocal) : "f"(b));
    return a * reciprocal;
}

ULMKIT_INLINE float natural_log(float x) { return logf(x); }

// Four 16-bit elements, the unit of loads.
struct __align__(8) Four {
    uint32 low, high;
};

#if defined(ULMKIT_FP32)
typedef float Element;
ULMKIT_INLINE float to_float(Element value) { return value; }
ULMKIT_INLINE Element to_element(float value) { return value; }
#else
struct Element {
    unsigned short bits;
};
#if defined(ULMKIT_BF16)
#define ULMKIT_TYPE "bf16"
ULMKIT_INLINE float to_float(Element value) { return __uint_as_float((uint32)value.bits << 16); }
#else
#define ULMKIT_TYPE "f16"
ULMKIT_INLINE float to_float(Element value) {
    float wide;
    asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
    return wide;
}
#endif
ULMKIT_INLINE Element to_element(float value) {
    Element narrow;
    asm("cvt.rn." ULMKIT_TYPE ".f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
    return narrow;
}

// Loads from memory that nothing writes while the kernel runs.
ULMKIT_INLINE Four load_steady(const Element* from) {
    Four four;
    asm("ld.global.nc.v2.u32 {%0, %1}, [%2];" : "=r"(four.low), "=r"(four.high) : "l"(from));
    return four;
}

// Loads what other blocks wrote since the kernel began: bypasses the L1 cache, which is not coherent.
ULMKIT_INLINE Four load_fresh(const Element* from) {
    Four four;
    asm volatile("ld.global.cg.v2.u32 {%0, %1}, [%2];" : "=r"(four.low), "=r"(four.high) : "l"(from) : "memory");
    return four;
}

// d += a b for a 16 x 16 (row-major) and b 16 x 8 (column-major), by all lanes of a warp: with g = lane / 4 and
// q = lane % 4, a lane has of a the pairs of columns (2q, 2q + 1) of rows g and g + 8, then (2q + 8, 2q + 9) of both;
// of b the pairs of rows (2q, 2q + 1) and (2q + 8, 2q + 9) of column g; of d the pairs of columns (2q, 2q + 1) of rows g
// and g + 8.
ULMKIT_INLINE void multiply_accumulate(float (&d)[4], const uint32 (&a)[4], Four b) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32." ULMKIT_TYPE "." ULMKIT_TYPE
        ".f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b.low), "r"(b.high));
}
#endif

#if ULMKIT_CLUSTER > 1
// Barrier of all threads of the block's cluster.
ULMKIT_INLINE void cluster_barrier() {
    asm volatile("barrier.cluster.arrive.release.aligned; barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

// Loads from the shared memory of another block of the cluster, at the address that `place` has in this block.
ULMKIT_INLINE float load_of_cluster(const float* place, uint32 block) {
    float value;
    asm volatile("{ .reg .u64 there; mapa.u64 there, %1, %2; ld.f32 %0, [there]; }"
                 : "=f"(value) : "l"(place), "r"(block) : "memory");
    return value;
}
#endif

// Barrier of all threads of `blocks` blocks, which must all be on the device at once; makes earlier writes visible to all.
// counter: counter of these blocks, zero at the start
// round: number of this barrier, from 1
ULMKIT_INLINE void meet(uint32* counter, uint32 blocks, uint32 round) {
    __syncthreads();
    if (threadIdx.x == 0) {
        asm volatile("fence.acq_rel.gpu; red.relaxed.gpu.global.add.u32 [%0], 1;" ::"l"(counter) : "memory");
        uint32 met;
        do {
            asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(met) : "l"(counter) : "memory");
        } while (met < blocks * round);
    }
    __syncthreads();
}

#endif
