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
#elif defined(ULMKIT_HAS_cross_entropy)
ULMKIT_HOST host_softmax_rows(Host host, Logits a) { return launch(host, softmax_rows, a); }
#elif defined(ULMKIT_HAS_regularization)
ULMKIT_HOST host_regularization_forward(Host host, Regularization a) { return launch(host, regularization_forward, a); }
ULMKIT_HOST host_regularization_backward(Host host, Regularization a) {
    return launch(host, regularization_backward, a);
}
#elif defined(ULMKIT_HAS_masks)
ULMKIT_HOST host_keep_bits(Host host, const address* seed, int keep, int64 words, address* bits) {
    return launch(host, keep_bits, seed, keep, words, bits);
}
ULMKIT_HOST host_mask_weights(Host host, Masked a, int64 width, Element* to) {
    return launch(host, mask_weights, a, width, to);
}
ULMKIT_HOST host_mask_weights_transposed(Host host, Masked a, int64 width, Element* to) {
    return launch(host, mask_weights_transposed, a, width, to);
}
ULMKIT_HOST host_mask_gradient(Host host, Masked a, float* gradient) { return launch(host, mask_gradient, a, gradient); }
#else
ULMKIT_HOST host_begin_forward(Host host, Forward a, ForwardCall* call) { return launch(host, begin_forward, a, call); }
ULMKIT_HOST host_begin_backward(Host host, Backward a, BackwardCall* call) {
    return launch(host, begin_backward, a, call);
}
ULMKIT_HOST host_advance(Host host, int64* done, int64 steps) { return launch(host, advance, done, steps); }
ULMKIT_HOST host_forward_step(Host host, const ForwardCall* call, int64 number, const float* recurrent, Element* state) {
    return launch(host, forward_step, call, number, recurrent, state);
}
ULMKIT_HOST host_backward_step(Host host, const BackwardCall* call, int64 number, const float* recurrent,
                               Element* state) {
    return launch(host, backward_step, call, number, recurrent, state);
}
#endif
