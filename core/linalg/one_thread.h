// SPDX-License-Identifier: Apache-2.0
//
// Switches OpenBLAS's own threads off: our pools run many jobs at the same time, and a product
// that is cut among threads would sum in an order that depends on how many threads there are.
#pragma once

namespace talweg::core {

// Makes every product of this process run on the thread that asks for it. The first call does this
// for the whole process; later calls return at once. Thread-safe. Every function of this room that
// calls OpenBLAS calls this first; a benchmark that calls OpenBLAS itself does so too.
void UseOneThread();

// Which processor OpenBLAS has chosen its kernels for: "Haswell". The bits of products depend on
// it.
const char* BlasKernelName();

}  // namespace talweg::core
