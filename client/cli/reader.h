// SPDX-License-Identifier: Apache-2.0
//
// The program that reads our standard output: in `talweg ... | head -1` it stops after one line.
#pragma once

namespace talweg {

// From now on writing to a reader that has gone is an error and does not end the program.
void SurviveGoneReaders();
// Whether standard output leads to a reader that has gone. Nothing more can be told to it, and it
// asked for nothing more: no error.
bool ReaderIsGone();

}  // namespace talweg
