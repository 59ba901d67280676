// Packing of int8 weights, and the sizes of the caller's buffers: what an int8 path has besides its forward pass.

inline void pack(Layer layer, Packing packing, int threads) {
    const Shape shape(layer);
    const int8_t* w_ih = static_cast<const int8_t*>(packing.w_ih);
    const int8_t* w_hh = static_cast<const int8_t*>(packing.w_hh);
    Factor* to_ih = static_cast<Factor*>(packing.forward_weights);
    Factor* to_hh = to_ih + shape.groups * shape.input_group;
#pragma omp parallel for num_threads(threads)
    for (int64_t n = 0; n < shape.groups * 4; ++n) {
        const int64_t row = n % 4 * shape.hidden + n / 4 * width, present = shape.present(n / 4);
        Engine::pack_columns(shape.inputs, shape.inputs_wide, present, w_ih + row * shape.inputs, packing.scales_ih + row,
                             to_ih + n * (shape.input_group / 4));
        Engine::pack_columns(shape.hidden, shape.hidden_wide, present, w_hh + row * shape.hidden, packing.scales_hh + row,
                             to_hh + n * (shape.hidden_group / 4));
    }
}

inline Sizes sizes(Layer layer, Sequences sequences, bool, int threads) {
    const Shape shape(layer);
    const int64_t states = 2 * sequences.batch + 16;  // two blocks alternate
    Sizes found{};
    found.forward_weights = shape.groups * (shape.input_group + shape.hidden_group);
    found.hidden = states * shape.hidden_wide * int64_t(sizeof(Element));
    found.cells = states * shape.units * int64_t(sizeof(float));
    found.forward_workspace = ForwardPass(layer, sequences, Forward{}, threads).workspace_bytes();
    return found;
}
