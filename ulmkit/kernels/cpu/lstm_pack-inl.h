// Masks weights and lays them out, once per training step or load, in the orientation of each product that reads them.

// Masks up to `width` values: zero where the bit is 0, else times `scale`. The bits start at the byte of the first column.
inline Floats masked(Floats v, const uint8_t* bits, int64_t column, int64_t row_bytes, float scale) {
    Ints places;
    for (int n = 0; n < width; ++n) places[n] = 1 << n;
    int32_t word = bits[column / 8];
    if (width > 8 && column / 8 + 1 < row_bytes) word |= bits[column / 8 + 1] << 8;
    return ((((word >> (column % 8)) - Ints{}) & places) != 0) ? v * scale : Floats{};
}

// Masks a row of `count` floats in place.
inline void mask_row(const uint8_t* bits, float scale, int64_t count, int64_t row_bytes, float* row) {
    for (int64_t column = 0; column < count; column += width) {
        const int64_t here = minimum(width, count - column);
        store_some(row + column, masked(load_some(row + column, here), bits, column, row_bytes, scale), here);
    }
}

// Converts a row of float weights to elements and masks it; zeros beyond `count`.
inline void convert_row(const float* from, const uint8_t* keep_bits, float scale, int64_t count, int64_t padded,
                        Element* to) {
    for (int64_t column = 0; column < padded; column += width) {
        const int64_t here = maximum(0, minimum(width, count - column));
        Floats v = here ? load_some(from + column, here) : Floats{};
        if (keep_bits != nullptr && here) v = masked(v, keep_bits, column, (count + 7) / 8, scale);
        Engine::store(to + column, v);
    }
}

// Packs one matrix for both passes: for the forward pass as [group][gate] groups of columns with K = columns of w, for the
// backward pass as groups of columns of w with K = gates.
inline void pack_group(const Shape& shape, int64_t group, const float* w, int64_t columns, int64_t columns_wide,
                       const uint8_t* keep_bits, float scale, Element* rows, Element* forward, Element* backward) {
    for (int64_t gate = 0; gate < 4; ++gate)
        for (int64_t unit = 0; unit < width; ++unit) {
            Element* row = rows + (gate * width + unit) * columns_wide;
            if (unit >= shape.present(group)) {
                std::memset(row, 0, columns_wide * sizeof(Element));
                continue;
            }
            const int64_t from = gate * shape.hidden + group * width + unit;
            convert_row(w + from * columns, keep_bits == nullptr ? nullptr : keep_bits + from * ((columns + 7) / 8), scale,
                        columns, columns_wide, row);
        }
    for (int64_t gate = 0; gate < 4; ++gate)
        Engine::pack_columns(columns_wide, rows + gate * width * columns_wide, columns_wide,
                             forward + (group * 4 + gate) * columns_wide * width);
    if (backward == nullptr) return;
    for (int64_t column = 0; column < columns; column += width)
        Engine::pack_rows(4 * width, rows + column, columns_wide,
                          backward + column * shape.gates + group * 4 * width * width);
}

inline void pack(Layer layer, Packing packing, int threads) {
    const Shape shape(layer);
    Element* forward = static_cast<Element*>(packing.forward_weights);
    Element* backward = static_cast<Element*>(packing.backward_weights);
    Element* backward_hh = backward == nullptr ? nullptr : backward + shape.inputs_wide * shape.gates;
#pragma omp parallel num_threads(threads)
    {
        const int thread = omp_get_thread_num();
        const Slice slice(shape.groups, thread, omp_get_num_threads());
        Element* rows = static_cast<Element*>(packing.workspace) +
                        thread * 4 * width * maximum(shape.inputs_wide, shape.hidden_wide);
        for (int64_t group = slice.first; group < slice.last; ++group) {
            pack_group(shape, group, static_cast<const float*>(packing.w_ih), shape.inputs, shape.inputs_wide, nullptr, 1.0f, rows, forward,
                       backward);
            pack_group(shape, group, static_cast<const float*>(packing.w_hh), shape.hidden, shape.hidden_wide, packing.keep_bits,
                       packing.keep_scale, rows, forward + shape.groups * shape.input_group, backward_hh);
        }
    }
}
