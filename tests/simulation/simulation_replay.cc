// SPDX-License-Identifier: Apache-2.0
//
// Runs one world, or many, and says what happened.
//
//   simulation_replay --world NAME --seed N [--seeds COUNT] [--mutation M] [--host_mutation M]
//   [--flaw F] [--trace]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/simulation/world.h"

namespace talweg::simulation {
namespace {

int Usage() {
  std::string worlds;
  for (const auto& names : {SmallWorlds(), BigWorlds()}) {
    for (const absl::string_view name : names) absl::StrAppend(&worlds, " ", name);
  }
  std::fprintf(stderr,
               "usage: simulation_replay --world NAME|every --seed N [--seeds COUNT] "
               "[--mutation M] [--host_mutation M] [--flaw F] [--trace]\nworlds:%s\n",
               worlds.c_str());
  return 2;
}

int Main(int argc, char** argv) {
  std::string name;
  uint64_t seed = 0;
  uint64_t seeds = 1;
  int mutation = 0;
  int host_mutation = 0;
  int flaw = 0;
  bool aloud = false;
  for (int place = 1; place < argc; ++place) {
    const std::string flag = argv[place];
    if (flag == "--trace") {
      aloud = true;
      continue;
    }
    if (place + 1 == argc) return Usage();
    const char* value = argv[++place];
    if (flag == "--world") {
      name = value;
    } else if (flag == "--seed") {
      seed = std::strtoull(value, nullptr, 10);
    } else if (flag == "--seeds") {
      seeds = std::strtoull(value, nullptr, 10);
    } else if (flag == "--mutation") {
      mutation = std::atoi(value);
    } else if (flag == "--host_mutation") {
      host_mutation = std::atoi(value);
    } else if (flag == "--flaw") {
      flaw = std::atoi(value);
    } else {
      return Usage();
    }
  }
  if (name != "every" && !IsWorld(name)) return Usage();
  Totals totals;
  for (uint64_t each = seed; each < seed + seeds; ++each) {
    WorldConfig world =
        MakeWorld(name == "every" ? SmallWorlds()[each % SmallWorlds().size()] : name, each);
    world.mutation = static_cast<core::Mutation>(mutation);
    world.host_mutation = static_cast<server::HostMutation>(host_mutation);
    world.flaw = static_cast<Flaw>(flaw);
    const Outcome outcome = RunWorld(world, aloud);
    totals.Add(outcome);
    if (outcome.violation.label.empty()) continue;
    std::printf("%s %llu: %s: %s\n  %s\n", world.name.c_str(),
                static_cast<unsigned long long>(each), outcome.violation.label.c_str(),
                outcome.violation.text.c_str(), ReplayCommand(world).c_str());
  }
  std::printf("%s\nhash %016llx\n", totals.Text().c_str(),
              static_cast<unsigned long long>(totals.sum.trace_hash));
  return totals.violations == 0 ? 0 : 1;
}

}  // namespace
}  // namespace talweg::simulation

int main(int argc, char** argv) { return talweg::simulation::Main(argc, argv); }
