// SPDX-License-Identifier: Apache-2.0
//
// TensorBoard's event files, written from their formats and nothing else.
//
//   file    a frame an event
//   frame   length (uint64) | masked CRC-32C of it | event | masked CRC-32C of that little-endian
//   masked  ((crc >> 15) | (crc << 17)) + 0xa282ead8
//   event   tensorflow.Event as protobuf: wall_time = 1 (double), step = 2 (int64), file_version =
//   3
//           (string, of the first event, "brain.Event:2"), summary = 5 { value = 1 { tag = 1
//           (string), simple_value = 2 (float) } ... }
//
// Source: tensorflow/core/lib/io/record_writer.h, core/util/event.proto,
// core/framework/summary.proto.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "talweg/v1/session_service.pb.h"

namespace talweg {

// A file of one event a record: step is its version, wall_time its time, the tags are the names of
// RecordColumns. Values are float32, as the format has them.
std::string TensorBoardEvents(absl::Span<const v1::StepRecord> records);

// TensorBoard reads files whose name has "tfevents" in it, and takes all in a folder for one run.
// One name for each session, so that exporting it again replaces the file.
std::string TensorBoardFileName(const std::string& session_id);

}  // namespace talweg
