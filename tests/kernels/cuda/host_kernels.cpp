// One kernel's source on the CPU. ULMKIT_SOURCE: the file. The same arguments as a launch on a GPU.

#include "host_gpu.h"

#include ULMKIT_SOURCE

#define ULMKIT_HOST extern "C" bool

#if defined(ULMKIT_FORWARD)
ULMKIT_HOST forward(int blocks, int threads, int64 shared_bytes, unsigned seed, Forward a) {
    return gpu::launch(blocks, threads, shared_bytes, seed, [&] { lstm_forward(a); });
}
#elif defined(ULMKIT_BACKWARD)
ULMKIT_HOST backward(int blocks, int threads, int64 shared_bytes, unsigned seed, Backward a) {
    return gpu::launch(blocks, threads, shared_bytes, seed, [&] { lstm_backward(a); });
}
#else
ULMKIT_HOST forward_one(int blocks, int threads, unsigned seed, Forward a, const float* recurrent, int64 t) {
    return gpu::launch(blocks, threads, 0, seed, [&] { forward_step(a, recurrent, t); });
}
ULMKIT_HOST backward_one(int blocks, int threads, unsigned seed, Backward a, const float* recurrent, int64 t) {
    return gpu::launch(blocks, threads, 0, seed, [&] { backward_step(a, recurrent, t); });
}
#endif
