// All that is computed with the products of an Engine.
#include "lstm_shape.h"
#include "lstm_pack.h"
#include "lstm_forward.h"
#include "lstm_backward.h"
#include "sizes.h"
#include "cross_entropy.h"
