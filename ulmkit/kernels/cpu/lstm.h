// The LSTM on the products of an Engine: the order of the pieces.
#include "lstm_shape.h"
#include "lstm_pack.h"
#include "lstm_forward.h"
#include "lstm_backward.h"
#include "sizes.h"
