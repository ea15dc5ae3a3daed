#include "tests/unit/driver_memory/support.h"
