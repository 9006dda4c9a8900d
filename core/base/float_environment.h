// SPDX-License-Identifier: Apache-2.0
//
// The floating-point environment that the definition of the arithmetic demands: denormals are kept,
// and results are rounded to nearest. A thread may have another one, because it begins with that of
// the thread that made it, and because libraries change it.
#pragma once

#include <cfenv>

namespace talweg::core {

// While it lives, its thread has the default environment; then the thread has its own one again,
// with the exception flags that it had.
class DefaultFloatEnvironment {
 public:
  DefaultFloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~DefaultFloatEnvironment() { std::fesetenv(&saved_); }
  DefaultFloatEnvironment(const DefaultFloatEnvironment&) = delete;
  DefaultFloatEnvironment& operator=(const DefaultFloatEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace talweg::core
