// A kernel's source on the CPU, behind functions that take what a launch on a GPU takes. ULMKIT_SOURCE: the file.

#include "host_gpu.h"

#include ULMKIT_SOURCE

struct Host {
    int blocks, threads;
    int64 shared_bytes;
    unsigned seed;
};

template <class Kernel, class... Arguments>
bool launch(const Host& host, Kernel kernel, Arguments... arguments) {
    return gpu::launch(host.blocks, host.threads, host.shared_bytes, host.seed, [=] { kernel(arguments...); });
}

#define ULMKIT_HOST extern "C" bool

#if defined(ULMKIT_HAS_lstm_forward)
ULMKIT_HOST host_lstm_forward(Host host, Forward a) { return launch(host, lstm_forward, a); }
#elif defined(ULMKIT_HAS_lstm_backward)
ULMKIT_HOST host_lstm_backward(Host host, Backward a) { return launch(host, lstm_backward, a); }
#else
ULMKIT_HOST host_forward_step(Host host, Forward a, const float* recurrent, int64 t) {
    return launch(host, forward_step, a, recurrent, t);
}
ULMKIT_HOST host_backward_step(Host host, Backward a, const float* recurrent, int64 t) {
    return launch(host, backward_step, a, recurrent, t);
}
ULMKIT_HOST host_mask_weights(Host host, const float* w_hh, const unsigned char* keep_bits, float keep_scale,
                              int64 hidden_size, int64 width, Element* to) {
    return launch(host, mask_weights, w_hh, keep_bits, keep_scale, hidden_size, width, to);
}
ULMKIT_HOST host_mask_gradient(Host host, float* gradient, const unsigned char* keep_bits, float keep_scale,
                               int64 hidden_size) {
    return launch(host, mask_gradient, gradient, keep_bits, keep_scale, hidden_size);
}
#endif
