// SPDX-License-Identifier: Apache-2.0
#include "client/cpp/talweg/told.h"

#include <cmath>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace talweg {
namespace {

// A part of what gRPC says, and what it means. The first row that fits is taken. The texts are
// those of gRPC 1.51 and newer; in these an address or an error number may stand around them.
struct Meaning {
  absl::string_view text;
  absl::string_view sentence;
};
constexpr absl::string_view kBroken =
    "the connection to the server broke: the server ended, or the way to it was cut";
constexpr absl::string_view kNotTalweg =
    "what answers at this address is no talweg-server: see whether host and port are right";
constexpr Meaning kMeanings[] = {
    {"eepalive watchdog timeout",
     "the server does not answer pings any more: it stands still, or the way to it is cut; see "
     "whether it runs"},
    {"Connection refused",
     "nothing listens at this address: start a talweg-server there, or see whether host and port "
     "are right"},
    {"No route to host",
     "there is no way to this host: see whether its name and the network are right"},
    {"Network is unreachable",
     "there is no way to this host: see whether its name and the network are right"},
    {"DNS resolution failed",
     "the name of this host is not known: see whether it is spelled right"},
    {"http1.x server", kNotTalweg},
    {"http2 header with status", kNotTalweg},
    {"Method not found", kNotTalweg},
    {"too_many_pings",
     "the server cut the connection, because pings come more often than it allows"},
    {"Too many pings",
     "the server cut the connection, because pings come more often than it allows"},
    {"Received message larger than max",
     "a message of the server is larger than this program takes"},
    {"Sent message larger than max", "a message is larger than this program sends"},
    {"GOAWAY", "the server ends connections: it stops, or is restarted"},
    {"Socket closed", kBroken},
    {"Stream removed", kBroken},
    {"Connection reset by peer", kBroken},
    {"Broken pipe", kBroken},
    {"ransport closed", kBroken},
    {"ndpoint read failed", kBroken},
    {"Channel closed", kBroken},
    {"RST_STREAM", kBroken},
    {"failed to connect to all addresses",
     "no connection to the server can be made: see whether it runs, and whether host and port are "
     "right"},
    {"Deadline Exceeded", "the server did not answer in time"},
};

}  // namespace

std::string DurationText(absl::Duration duration) {
  if (duration == absl::InfiniteDuration()) return "ever";
  const double seconds = absl::ToDoubleSeconds(duration);
  if (seconds < 0.9995) return absl::StrFormat("%.0f ms", seconds * 1e3);
  // One decimal only if it says something.
  const double tenths = std::round(seconds * 10) / 10;
  if (tenths < 10 && tenths != std::round(tenths)) return absl::StrFormat("%.1f s", tenths);
  if (std::round(seconds) < 120) return absl::StrFormat("%.0f s", seconds);
  if (std::round(seconds / 60) < 120) return absl::StrFormat("%.0f min", seconds / 60);
  return absl::StrFormat("%.0f h", seconds / 3600);
}

absl::Status NothingMoved(absl::Duration timeout) {
  return absl::DeadlineExceededError(absl::StrCat("nothing moved for ", DurationText(timeout),
                                                  ": the server stands still, or the way to it is "
                                                  "cut"));
}

std::string ConnectionText(absl::string_view grpc_text) {
  for (const Meaning& meaning : kMeanings) {
    if (!absl::StrContains(grpc_text, meaning.text)) continue;
    return absl::StrCat(meaning.sentence, " (gRPC: ", grpc_text, ")");
  }
  return std::string(grpc_text);
}

}  // namespace talweg
