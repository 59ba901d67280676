// fp32 with what every processor of the architecture has.
#define PATH portable
#define ULMKIT_WIDTH 4
#define ULMKIT_REGISTERS 16
#define ULMKIT_ENGINE "engine_fp32-inl.h"
#include "path.h"
ULMKIT_PATH(portable, true)
