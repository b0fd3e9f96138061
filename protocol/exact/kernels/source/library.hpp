// Status codes and instruction levels of the C interface; `library.py` mirrors them.

#pragma once

namespace gradproof {

enum Status { kDone = 0, kNonFinite = 1, kNoMemory = 2 };
enum Level { kLevelScalar = 0, kLevelAvx2 = 1, kLevelVnni = 2, kLevelAmx = 3 };

}  // namespace gradproof
