// One step of one unit of an LSTM, and its gradients, for the CPU and the GPU kernels.
//
// Value is a float or a vector of floats. The includer defines ULMKIT_INLINE (the qualifiers of a small function),
// exp_of_negative(Value): e^x for x <= 0, and quotient(Value a, Value b): a / b for 1 <= b <= 2.

// 1 / (1 + e^-x)
template <class Value>
ULMKIT_INLINE Value sigmoid(Value x) {
    const Value e = exp_of_negative(x < 0.0f ? x : -x);
    const Value rest = quotient(Value{} + 1.0f, 1.0f + e);
    return x < 0.0f ? e * rest : rest;
}

// (1 - e^-2|x|) / (1 + e^-2|x|), and near zero, where that cancels, a polynomial (Cephes, tanhf).
template <class Value>
ULMKIT_INLINE Value hyperbolic_tangent(Value x) {
    const Value size = x < 0.0f ? -x : x;
    const Value e = exp_of_negative(-2.0f * size);
    const Value far = quotient(1.0f - e, 1.0f + e);
    const Value square = x * x;
    Value p = square * -5.70498872745e-3f + 2.06390887954e-2f;
    p = p * square - 5.37397155531e-2f;
    p = p * square + 1.33314422036e-1f;
    p = p * square - 3.33332819422e-1f;
    const Value near = p * square * x + x;
    return size < 0.625f ? near : (x < 0.0f ? -far : far);
}

// Gates, or their preactivations a = W_ih x_t + W_hh h_{t-1} + b, or gradients of either.
template <class Value>
struct Gates {
    Value i, f, g, o;
};

// States after a step, or their gradients.
template <class Value>
struct States {
    Value c, h;
};

// i, f, o = sigmoid(a_i), sigmoid(a_f), sigmoid(a_o);  g = tanh(a_g)
template <class Value>
ULMKIT_INLINE Gates<Value> gates_of(const Gates<Value>& a) {
    return {sigmoid(a.i), sigmoid(a.f), hyperbolic_tangent(a.g), sigmoid(a.o)};
}

// c_t = f c_{t-1} + i g;  h_t = o tanh(c_t)
template <class Value>
ULMKIT_INLINE States<Value> step_forward(const Gates<Value>& gates, Value c_before) {
    const Value c = gates.f * c_before + gates.i * gates.g;
    return {c, gates.o * hyperbolic_tangent(c)};
}

// dc_t += dh_t o (1 - tanh^2 c_t)
// da_i = dc_t g i (1 - i);  da_f = dc_t c_{t-1} f (1 - f);  da_g = dc_t i (1 - g^2);  da_o = dh_t tanh(c_t) o (1 - o)
//
// d: dc_t and dh_t; on return its dc is dc_{t-1} = dc_t f. Returns da.
template <class Value>
ULMKIT_INLINE Gates<Value> step_backward(const Gates<Value>& gates, Value c_before, Value c_after, States<Value>& d) {
    const Value tanh_c = hyperbolic_tangent(c_after);
    const Value dc = d.c + d.h * gates.o * (1.0f - tanh_c * tanh_c);
    d.c = dc * gates.f;
    return {dc * gates.g * gates.i * (1.0f - gates.i), dc * c_before * gates.f * (1.0f - gates.f),
            dc * gates.i * (1.0f - gates.g * gates.g), d.h * tanh_c * gates.o * (1.0f - gates.o)};
}
