// fp32 with what every processor of the architecture has.
#define PATH portable
#define ULMKIT_WIDTH 4
#define ULMKIT_REGISTERS 16
#include "path.h"

namespace ulmkit {
namespace PATH {
#include "vectors.h"
#include "transpose.h"
#include "blocked_product.h"
#include "engine_fp32.h"
#include "all.h"
}  // namespace PATH
}  // namespace ulmkit
ULMKIT_PATH(portable, true)
