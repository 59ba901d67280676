// int8 with what every processor of the architecture has.
#define PATH portable_int8
#define ULMKIT_WIDTH 4
#define ULMKIT_REGISTERS 16
#define ULMKIT_ENGINE "engine_portable_int8-inl.h"
#define ULMKIT_SERVES
#include "path.h"
ULMKIT_PATH(portable_int8, true)
