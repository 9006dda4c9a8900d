# SPDX-License-Identifier: Apache-2.0
"""No room includes, links or sees what arrows.py does not allow; and the checks can fail."""

import pathlib
import unittest

import arrows
import layers

ROOT = pathlib.Path(__file__).resolve().parents[2]


class HouseTest(unittest.TestCase):
    """The repository as it stands."""

    @classmethod
    def setUpClass(cls):
        cls.files = layers.read_house(ROOT)

    def test_is_found(self):
        self.assertIn("core/base/reasons.cc", self.files)
        self.assertIn("proto/talweg/v1/session_service.proto", self.files)

    def test_includes_only_along_arrows(self):
        self.assertEqual([], layers.wrong_includes(self.files))

    def test_links_only_along_arrows(self):
        self.assertEqual([], layers.wrong_dependencies(self.files))

    def test_files_that_see_grpc_are_counted(self):
        units = layers.grpc_units(self.files)
        self.assertIn("server/server.cc", units)
        print(f"{len(units)} production files see gRPC's headers ... ", end="")

    def test_arrows_make_no_circle(self):
        for room, targets in arrows.ARROWS.items():
            for target in targets - {"tests"}:
                self.assertNotIn(room, arrows.ARROWS[target] - {"tests"} if room != "tests" else ())


class ForbiddenTest(unittest.TestCase):
    """Each check, fed with what it must refuse."""

    # A small house in which everything is allowed.
    HOUSE = {
        "core/base/check.h": "#pragma once\n",
        "core/kernels/axpy.h": "",
        "core/noise/philox.h": "#include <cstdint>\n",
        "core/members/member.h": '#include "core/base/check.h"\n',
        "core/optimizers/adam.h": '#include "core/base/check.h"\n#include "core/kernels/axpy.h"\n',
        "core/optimizers/adam_test.cc": '#include <thread>\n#include "tests/support/golden.h"\n',
        "core/rounds/machine.h": '#include "core/members/member.h"\n',
        "core/schedules/schedule.h": "",
        "core/search/generation.h": '#include "core/members/member.h"\n',
        "core/session/session.h": '#include "core/noise/philox.h"\n',
        "server/main.cc": '#include "server/rpc/service.h"\n#include <grpcpp/grpcpp.h>\n',
        "server/rpc/service.h": '#include "talweg/v1/session_service.grpc.pb.h"\n',
        "server/runtime/pool.h": "#include <thread>\n",
        "server/store/store.h": "",
        "server/wire/codec.h": '#include "talweg/v1/section.pb.h"\n',
        "client/cpp/talweg/client.h": '#include "talweg/v1/session.pb.h"\n',
        "proto/talweg/v1/section.proto": "",
        "proto/talweg/v1/session.proto": "",
        "proto/talweg/v1/session_service.proto": "",
        "tests/support/golden.h": "#include <fstream>\n",
    }

    def refused(self, path, text, house=HOUSE):
        return layers.wrong_includes({**house, path: house.get(path, "") + text})

    def test_allowed_house_passes(self):
        self.assertEqual([], layers.wrong_includes(self.HOUSE))

    def test_forbidden_includes_are_refused(self):
        for path, header in [
            ("core/base/check.h", '"core/kernels/axpy.h"'),  # to the left
            ("core/kernels/axpy.h", '"core/schedules/schedule.h"'),  # sideways
            ("core/members/member.h", '"core/rounds/machine.h"'),  # rounds stand on members
            ("core/members/member.h", '"core/search/generation.h"'),  # and so does search
            ("core/rounds/machine.h", '"core/search/generation.h"'),  # sideways
            ("core/search/generation.h", '"core/rounds/machine.h"'),
            ("core/noise/philox.h", '"core/base/check.h"'),  # noise stands alone
            ("core/optimizers/adam.h", '"core/noise/philox.h"'),  # only session and search do
            ("core/optimizers/adam_test.cc", '"core/noise/philox.h"'),  # tests hold arrows too
            ("core/optimizers/adam.h", '"tests/support/golden.h"'),
            ("core/base/check.h", '"server/runtime/pool.h"'),
            ("core/base/check.h", "<mutex>"),
            ("core/base/check.h", "<thread>"),
            ("core/base/check.h", "<chrono>"),
            ("core/base/check.h", "<fstream>"),
            ("core/base/check.h", "<grpcpp/grpcpp.h>"),
            ("core/base/check.h", '"google/protobuf/message.h"'),
            ("core/base/check.h", '"talweg/v1/section.pb.h"'),
            ("core/optimizers/adam_test.cc", "<grpcpp/grpcpp.h>"),
            ("core/optimizers/adam.h", "<Eigen/Dense>"),
            ("core/optimizers/adam.h", '"hwy/highway.h"'),
            ("server/rpc/service.h", '"server/store/store.h"'),
            ("server/store/store.h", '"server/runtime/pool.h"'),
            ("server/wire/codec.h", "<grpcpp/support/status.h>"),  # status_to_grpc alone may
            ("server/wire/codec.h", '"talweg/v1/session_service.grpc.pb.h"'),
            ("server/runtime/pool.h", '"talweg/v1/section.pb.h"'),
            ("client/cpp/talweg/client.h", '"core/kernels/axpy.h"'),  # leaf rooms only
            ("client/cpp/talweg/client.h", '"server/wire/codec.h"'),
            ("server/wire/codec.h", '"client/cpp/talweg/client.h"'),
            ("core/kernels/axpy.h", '"check.h"'),  # no such file: next door is no path
            ("core/base/check.cc", '"check.h"'),  # relative
            ("core/base/check.h", '"core/base/missing.h"'),
            ("server/wire/codec.h", '"talweg/v1/missing.pb.h"'),
            ("core/attic/old.h", "<cstdint>"),  # a room without a row
        ]:
            with self.subTest(path=path, header=header):
                self.assertEqual(1, len(self.refused(path, f"#include {header}\n")))

    def test_status_to_grpc_may_see_grpc(self):
        self.assertEqual([], self.refused("server/wire/status_to_grpc.cc",
                                          "#include <grpcpp/support/status.h>\n"))

    def test_clients_may_include_the_leaf_rooms_of_core(self):
        for header in ("core/base/check.h", "core/noise/philox.h"):
            self.assertEqual([], self.refused("client/cpp/talweg/client.h",
                                              f'#include "{header}"\n'))

    def test_forbidden_link_is_refused(self):
        house = {
            "core/base/CMakeLists.txt": "talweg_library(core_base SRCS a.cc)\n",
            "core/noise/CMakeLists.txt": "talweg_library(core_noise SRCS b.cc)\n",
            "core/kernels/CMakeLists.txt": "talweg_library(core_kernels DEPS talweg::core_base)\n",
        }
        self.assertEqual([], layers.wrong_dependencies(house))
        house["core/noise/CMakeLists.txt"] = "talweg_library(core_noise DEPS talweg_core_base)\n"
        self.assertEqual(1, len(layers.wrong_dependencies(house)))

    def test_grpc_is_found_through_headers(self):
        house = {
            "server/rpc/a.h": "#include <grpcpp/grpcpp.h>\n",
            "server/rpc/b.h": '#include "server/rpc/a.h"\n',
            "server/rpc/b.cc": '#include "server/rpc/b.h"\n',
            "server/rpc/b_test.cc": '#include "server/rpc/b.h"\n',
            "tests/support/d.cc": '#include "server/rpc/b.h"\n',
            "server/rpc/c.cc": "#include <cstdint>\n",
            "proto/talweg/v1/x.proto": "\nservice X {}\n",
        }
        self.assertEqual(["server/rpc/b.cc", "proto/talweg/v1/x.proto"], layers.grpc_units(house))


if __name__ == "__main__":
    unittest.main(verbosity=2)
