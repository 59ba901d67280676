// Sizes of the buffers that the caller provides.

inline Sizes sizes(Layer layer, Sequences sequences, bool requires_grad, int threads) {
    const Shape shape(layer);
    const int64_t rows = total_rows(sequences), element = sizeof(Element);
    // Without a backward pass two blocks of states alternate.
    const int64_t states = sequences.batch + (requires_grad ? rows : sequences.batch) + 16;
    Sizes found;
    found.forward_weights = shape.groups * (shape.input_group + shape.hidden_group) * int64_t(sizeof(Factor));
    found.backward_weights = shape.gates * (shape.inputs_wide + shape.hidden_wide) * element;
    found.inputs = requires_grad ? (rows + 16) * shape.inputs_wide * element : 0;
    found.hidden = states * shape.hidden_wide * element;
    found.cells = states * shape.units * 4;
    found.gates = requires_grad ? rows * shape.gates * element : 0;
    found.pack_workspace = threads * 4 * width * maximum(shape.inputs_wide, shape.hidden_wide) * element;
    found.forward_workspace = ForwardPass(layer, sequences, Forward{}, threads).workspace_bytes();
    found.backward_workspace = BackwardPass(layer, sequences, Backward{}, threads).workspace_bytes();
    return found;
}
