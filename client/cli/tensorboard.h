// SPDX-License-Identifier: Apache-2.0
//
// TensorBoard's event files, written from their formats and nothing else.
//
//   file    one frame per event
//   frame   length (uint64) | masked CRC-32C of the length | event | masked CRC-32C of the event
//   masked  ((crc >> 15) | (crc << 17)) + 0xa282ead8
//   event   tensorflow.Event as protobuf:
//             wall_time = 1 (double), step = 2 (int64),
//             file_version = 3 (string, in the first event only: "brain.Event:2"),
//             summary = 5 { value = 1 { tag = 1 (string), simple_value = 2 (float) } ... }
//
// Numbers are little-endian.
//
// Source: tensorflow/core/lib/io/record_writer.h, core/util/event.proto,
// core/framework/summary.proto.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

// A file with one event per record: its step is the record's version, its wall_time the record's
// time, and its tags are the names of RecordColumns. Values are float32, as the format has them.
std::string TensorBoardEvents(absl::Span<const v1::StepRecord> records);

// The name of such a file. TensorBoard reads files whose name has "tfevents" in it, and takes all
// of a folder for one run. Each session has one name, so that a second export replaces the file.
std::string TensorBoardFileName(const std::string& session_id);

}  // namespace talweg
