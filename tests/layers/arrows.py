# SPDX-License-Identifier: Apache-2.0
"""The arrows of the house: which room may include which, and who may see which library.

This table is the rule; layers_test.py reads every #include and every CMake DEPS against it. A room
that the table lacks may include nothing and be included by nobody: add its row first.
"""

# core, from the top floor down: a room may include every room on a floor below its own.
CORE_FLOORS = [
    ["session"],
    ["rounds", "search", "optimizers"],
    ["members", "curvature"],
    ["schedules", "kernels", "linalg"],
    ["base"],
]

# room -> the rooms it may include, besides itself.
ARROWS = {"proto": set(), "core/noise": set()}
for floor, names in enumerate(CORE_FLOORS):
    below = {f"core/{name}" for names_below in CORE_FLOORS[floor + 1:] for name in names_below}
    ARROWS.update({f"core/{name}": set(below) for name in names})
ARROWS["core/session"] |= {"core/noise"}
ARROWS["core/search"] |= {"core/noise"}

CORE = {room for room in ARROWS if room.startswith("core/")}

ARROWS["server/calls"] = CORE
ARROWS["server/ops"] = CORE | {"server/calls"}
ARROWS["server/wire"] = CORE | {"proto", "server/calls"}
ARROWS["server/store"] = CORE | {"server/calls", "server/wire", "server/ops"}
ARROWS["server/auth"] = ARROWS["server/store"] | {"server/store"}
ARROWS["server/runtime"] = ARROWS["server/store"] | {"server/store"}
ARROWS["server/rpc"] = CORE | {"proto", "server/calls", "server/wire", "server/ops", "server/auth",
                               "server/runtime"}
ARROWS["server"] = ARROWS["server/rpc"] | {"server/rpc", "server/store"}  # main.cc

# The leaf rooms of core: a C++ client may link them, and nothing else of core.
LEAVES = {"core/base", "core/noise"}
ARROWS["client/terminal"] = set()
ARROWS["client/process"] = set()
ARROWS["client/cpp/talweg"] = LEAVES | {"proto"}
ARROWS["client/cpp/example"] = ARROWS["client/cpp/talweg"] | {"client/cpp/talweg"}
# A replay takes the steps of the server: it alone links the optimizers, and reads the configuration
# of a session as the server does.
ARROWS["client/replay"] = CORE | {"proto", "server/calls", "server/wire"}
ARROWS["client/experiments/plots"] = {"client/terminal"}
ARROWS["client/experiments/runs"] = ARROWS["client/cpp/example"]
ARROWS["client/experiments/mnist"] = ARROWS["client/cpp/example"] | {
    "client/terminal", "client/experiments/plots", "client/experiments/runs"}
ARROWS["client/experiments/theory"] = ARROWS["client/experiments/mnist"]
ARROWS["client/experiments/autoencoder"] = ARROWS["client/experiments/mnist"] | {
    "client/process", "client/experiments/mnist"}
ARROWS["client/experiments/fleet"] = ARROWS["client/experiments/mnist"] | {
    "client/process", "client/experiments/mnist"}
ARROWS["client/experiments/search"] = ARROWS["client/experiments/fleet"] | {
    "client/replay", "client/experiments/fleet"}
ARROWS["client/cli"] = ARROWS["client/experiments/fleet"] | {
    "client/experiments/autoencoder", "client/experiments/fleet", "client/experiments/search",
    "client/experiments/theory"}

# What crosses rooms may see them all.
ARROWS["tests"] = set(ARROWS)

# Libraries that only some may see: (folders or headers, rooms or files that may).
LIBRARIES = [
    (("grpc/", "grpcpp/"), {
        "server", "server/rpc", "server/wire/status_to_grpc", "client/cpp/talweg",
        "client/cpp/example", "tests"
    }),
    (("google/protobuf/",), {
        "proto", "server", "server/rpc", "server/wire", "client/cpp/talweg", "client/cpp/example",
        "client/cli", "client/experiments/theory", "tests"
    }),
    (("Eigen/", "cblas.h", "lapack.h", "lapacke.h"), {
        "core/linalg", "client/experiments/autoencoder", "client/experiments/mnist",
        "client/experiments/search", "tests"
    }),
    (("zip.h",), {"client/cli", "tests"}),
    (("openssl/",), {"core/session", "tests"}),
    (("hwy/",), {"core/kernels", "core/noise", "tests"}),
    (("spdlog/", "fmt/"), {"server", "server/ops", "tests"}),
]

# Core is handed time, threads and bytes; it fetches none of them. Tests and benchmarks beside a file
# of core may.
NOT_IN_CORE = (
    "thread", "mutex", "shared_mutex", "condition_variable", "future", "stop_token", "semaphore",
    "latch", "barrier", "pthread.h", "absl/synchronization/",
    "chrono", "ctime", "time.h", "sys/time.h", "absl/time/clock.h", "random",
    "fstream", "filesystem", "fcntl.h", "unistd.h", "sys/stat.h", "sys/socket.h",
)
