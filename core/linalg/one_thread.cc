// SPDX-License-Identifier: Apache-2.0
#include "core/linalg/one_thread.h"

#include <cblas.h>

namespace talweg::core {

void UseOneThread() {
  static const bool done = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(done);
}

const char* BlasKernelName() { return openblas_get_corename(); }

}  // namespace talweg::core
