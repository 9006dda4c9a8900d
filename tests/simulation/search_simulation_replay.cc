// SPDX-License-Identifier: Apache-2.0
//
// Tells the story of a world that searches again:
//
//     search_simulation_replay SEED [MUTATION [HOST_MUTATION]]
#include <cstdlib>
#include <iostream>

#include "tests/simulation/search_world.h"

int main(int argc, char** argv) {
  using talweg::core::SearchMutation;
  using talweg::server::HostMutation;
  const auto number = [&](int place) {
    return argc > place ? std::strtoull(argv[place], nullptr, 10) : 0;
  };
  const auto outcome = talweg::simulation::RunSearchWorld(
      {number(1), static_cast<SearchMutation>(number(2)), static_cast<HostMutation>(number(3))},
      /*aloud=*/true);
  std::cout << outcome.versions << " versions; " << outcome.label << " " << outcome.text << "\n";
  return outcome.label.empty() ? 0 : 1;
}
