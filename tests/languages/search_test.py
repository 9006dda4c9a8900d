# SPDX-License-Identifier: Apache-2.0
"""search_test.py ADDRESS WORKER: workers in Python and C++ share each generation of a search.

This process works beside WORKER (search_worker.cc) until the search is finished. Then both replay
it from the losses alone, this one with NumPy and the formulas of proto/NOISE.md, and want the
parameters of the server, bit for bit, and the checksum of each version.
"""
import collections
import math
import pathlib
import struct
import subprocess
import sys

import grpc
import numpy as np
from google.protobuf import json_format

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "client/python"))
import talweg_noise
from talweg.v1 import (search_pb2, search_service_pb2, search_service_pb2_grpc, session_pb2,
                       session_service_pb2, session_service_pb2_grpc, training_service_pb2,
                       training_service_pb2_grpc)

F = np.float32
SHAPES = [(6, 5), (7,), (2, 3, 4), ()]
LARGE = [(97, 90), (7,), ()]  # three blocks of 4,096 elements, the last of them shorter
BLOCK = 4096
SEED = 11
GENERATIONS = 12
SECONDS = 240  # that a call may wait for the other worker

# Of each kind: its layout, what differs in `search`, and in the rest of the configuration. No rate is
# a power of two, except that of IF_BETTER: a product with such a rate is exact, wherever it is taken.
KINDS = {
    "dense": (SHAPES, {"num_pairs": 70}, {"schedule": {"learning_rate": 0.1}}),
    "signs": (SHAPES, {"num_pairs": 33, "noise": "NOISE_SCHEME_RADEMACHER",
                       "shaping": "SHAPING_Z_SCORE"}, {"schedule": {"learning_rate": 0.1}}),
    "low_rank": (SHAPES, {"num_pairs": 20, "perturbation": "PERTURBATION_LOW_RANK", "rank": 3,
                          "shaping": "SHAPING_CENTERED_RANKS"},
                 {"schedule": {"learning_rate": 0.3}}),
    "tutorial": (LARGE, {"num_pairs": 48, "scale": None}, {"schedule": {"learning_rate": 0.17}}),
    "tutorial_ranks": (SHAPES, {"num_pairs": 30, "scale": "SCALE_TUTORIAL",
                                "shaping": "SHAPING_CENTERED_RANKS"},
                       {"schedule": {"learning_rate": 19.7}}),
    "decayed": (SHAPES, {"num_pairs": 40}, {
        "schedule": {"learning_rate": 0.13, "inverse_sqrt": {}},
        "clipping": {"max_norm": 3.3, "max_value": 0.61},
        "weight_decay": {"coupled": 0.37, "decoupled": 3.3},
        "groups": [{"tensors": "t1", "learning_rate_factor": 0.7, "decay_factor": 1.3,
                    "max_norm": 0.9},
                   {"tensors": "t2", "max_value": 0.37},
                   {"tensors": "t3", "frozen": True}]}),
    "clipped": (LARGE, {"num_pairs": 24}, {
        "schedule": {"learning_rate": 0.03}, "clipping": {"max_norm": 131.7},
        "groups": [{"tensors": "t2", "learning_rate_factor": 0.7}]}),
    "if_better": (SHAPES, {"num_pairs": 22, "scale": None,
                           "method": "SEARCH_METHOD_RANDOM_SEARCH"},
                  {"schedule": {"learning_rate": 1}}),
}


def num_elements(shapes):
    return sum(map(math.prod, shapes))


def create(sessions, name, shapes, search, rest):
    search = {"method": "SEARCH_METHOD_EVOLUTION_STRATEGY", "seed": SEED, "sigma": 0.125,
              "scale": "SCALE_GRADIENT", "max_generations": GENERATIONS,
              "evaluation_seconds": 2 * SECONDS, **search}
    config = {
        "layout": {"tensors": [{"name": f"t{i}", "shape": list(shape)}
                               for i, shape in enumerate(shapes)]},
        "optimizer": {"gradient_descent": {}},
        "aggregation": {"lease_seconds": 2 * SECONDS},  # no lease ends, however slow the machine is
        "search": {key: value for key, value in search.items() if value is not None},
        **rest,
    }
    request = session_service_pb2.CreateSessionRequest(session_id=name)
    json_format.ParseDict({"config": config, "initial_values": {"seeded": {"rules": [
        {"tensors": "*", "constant": {"value": 1}}]}}}, request)
    return sessions.CreateSession(request).session


def pull(training, name, min_version=0):
    """(version, float32 [num_elements]) of the current version, once it is at least min_version."""
    messages = list(training.Pull(training_service_pb2.PullRequest(
        session_id=name, min_version=min_version), timeout=SECONDS))
    data = b"".join(message.section.data for message in messages)
    return messages[0].version, np.frombuffer(data, "<f4").astype(F)


def loss_at(w):
    return np.sum(np.square(w))


def work(search, training, name, shapes, share, joined):
    """Evaluates the sum of squares until the search is finished.

    It evaluates at most `share` pairs of a generation, as search_worker.cc does: so every generation
    has losses of both. Returns the pairs that counted, by generation.
    """
    who = {"session_id": name, "history": joined.history, "worker": "python",
           "incarnation": joined.incarnation}
    counted = collections.Counter()
    told_version, num_told = 0, 0
    while True:
        version, w = pull(training, name, told_version + 1 if num_told == share else 0)
        if version != told_version:
            num_told = 0
        told_version = version
        answer = search.Ask(search_service_pb2.AskRequest(
            capacity=min(4, share - num_told), **who), timeout=SECONDS)
        if not answer.HasField("lease"):
            assert answer.HasField("finished"), answer
            return counted
        lease = answer.lease
        if lease.version != version:
            continue  # a generation has closed; the lease is held
        noise = talweg_noise.Noise(
            shapes, lease.seed, lease.sigma, rank=lease.rank,
            rademacher=lease.noise == search_pb2.NOISE_SCHEME_RADEMACHER)
        signs = (+1, -1) if lease.differences == search_pb2.DIFFERENCES_CENTRAL else (+1,)
        losses = [loss_at(noise.perturb(w, lease.generation, pair, sign))
                  for pair in range(lease.first_pair, lease.first_pair + lease.num_pairs)
                  for sign in signs]
        told = search.Tell(search_service_pb2.TellRequest(
            generation=lease.generation, lease=lease.lease, first_pair=lease.first_pair,
            evaluate=lease.evaluate,
            losses=[loss_at(w)] if lease.evaluate else losses, **who))
        num_told += lease.num_pairs
        if not lease.evaluate:
            counted[lease.generation] += told.num_accepted


def crc32c_table():
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


CRC32C_TABLE = list(crc32c_table())


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC32C_TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def parameters_checksum(w):
    """Proto/NOISE.md, "The checksum"."""
    return crc32c(b"".join(struct.pack("<I", crc32c(w[begin:begin + BLOCK].astype("<f4").tobytes()))
                           for begin in range(0, len(w), BLOCK)))


class Step:
    """Proto/NOISE.md, "The step", for groups that name one tensor each."""

    def __init__(self, shapes, config):
        self.clipping, self.weight_decay = config.clipping, config.weight_decay
        no_group = session_pb2.ParameterGroup(learning_rate_factor=1, decay_factor=1)
        self.groups = [no_group, *config.groups]
        number_of = {group.tensors: i for i, group in enumerate(self.groups)}
        ends = [int(end) for end in np.cumsum([math.prod(shape) for shape in shapes])]
        self.runs = []  # [begin, end, group] of adjacent tensors of one group
        for begin, end, tensor in zip([0, *ends], ends, config.layout.tensors):
            number = number_of.get(tensor.name, 0)
            if self.runs and self.runs[-1][2] == number:
                self.runs[-1][1] = end
            else:
                self.runs.append([begin, end, number])

    @staticmethod
    def sum_of_squares(piece):
        lanes = np.zeros(16)
        for begin in range(0, len(piece), 16):
            part = piece[begin:begin + 16].astype(np.float64)
            lanes[:len(part)] += part * part
        for half in (8, 4, 2, 1):
            lanes = lanes[:half] + lanes[half:]
        return lanes[0]

    def sums_of_squares(self, g):
        """Of each group."""
        sums = [0.0] * len(self.groups)
        for begin, end, number in self.runs:
            while begin < end:
                piece_end = min(end, (begin // BLOCK + 1) * BLOCK)
                sums[number] += self.sum_of_squares(g[begin:piece_end])
                begin = piece_end
        return sums

    def norm(self, g, counts=lambda group: True):
        """Of the groups that count, added in their order."""
        total = 0.0
        for group, of_group in zip(self.groups, self.sums_of_squares(g)):
            if counts(group) and not group.frozen:
                total += of_group
        return math.sqrt(total)

    def clipping_factor(self, group, g):
        if group.max_norm > 0:
            max_norm, norm = group.max_norm, self.norm(g, lambda other: other is group)
        else:
            max_norm = self.clipping.max_norm
            norm = self.norm(g, lambda other: other.max_norm == 0)
        return F(min(1.0, max_norm / (norm + 1e-6)) if max_norm > 0 else 1.0)

    def __call__(self, w, g, learning_rate):
        new = w.copy()
        for begin, end, number in self.runs:
            group = self.groups[number]
            if group.frozen:
                continue
            rate = learning_rate * group.learning_rate_factor
            keep = F(1 - rate * (self.weight_decay.decoupled * group.decay_factor))
            decay = F(self.weight_decay.coupled * group.decay_factor)
            max_value = F(group.max_value or self.clipping.max_value)
            old, here = w[begin:end], self.clipping_factor(group, g) * g[begin:end]
            if max_value > 0:
                here = np.minimum(np.maximum(here, -max_value), max_value)
            if decay != 0:
                here = here + decay * old
            new[begin:end] = keep * old - F(rate) * here
        assert new.dtype == F
        return new


def replay(search, name, shapes, config, reports):
    """The parameters of the last version, from the losses alone. `reports` are those of the steps."""
    w = np.ones(num_elements(shapes), F)
    policy = config.search
    step = Step(shapes, config)
    for message in search.WatchGenerations(
            search_service_pb2.WatchGenerationsRequest(session_id=name), timeout=SECONDS):
        record = message.record
        assert not record.counted, "every pair counts"
        noise = talweg_noise.Noise(
            shapes, SEED, record.sigma, rank=policy.rank,
            rademacher=policy.noise == search_pb2.NOISE_SCHEME_RADEMACHER)
        losses = np.array(record.losses, np.float64)
        if policy.method == search_pb2.SEARCH_METHOD_RANDOM_SEARCH:
            better = talweg_noise.better_pair(losses, record.evaluated_loss)
            gradient = (np.zeros_like(w) if better is None
                        else -noise.displacement(record.generation, better))
        else:
            weights, factor = talweg_noise.weigh(
                losses.reshape(-1, 2), record.sigma,
                scale=search_pb2.Scale.Name(policy.scale).removeprefix("SCALE_"),
                shaping=search_pb2.Shaping.Name(policy.shaping).removeprefix("SHAPING_"))
            gradient = noise.estimate(record.generation, dict(enumerate(weights)), factor)
        assert step.norm(gradient) == reports[record.version].gradient_norm, (name, record.version)
        w = step(w, gradient, record.learning_rate)
        assert parameters_checksum(w) == record.parameters_checksum, (name, record.version)
    return w


def main():
    assert crc32c(b"123456789") == 0xE3069283
    channel = grpc.insecure_channel(sys.argv[1])
    sessions = session_service_pb2_grpc.SessionServiceStub(channel)
    training = training_service_pb2_grpc.TrainingServiceStub(channel)
    search = search_service_pb2_grpc.SearchServiceStub(channel)
    for kind, (shapes, policy, rest) in KINDS.items():
        name, num_pairs = f"search_{kind}", policy["num_pairs"]
        config = create(sessions, name, shapes, policy, rest).config
        joined = sessions.Join(session_service_pb2.JoinRequest(session_id=name, worker="python"))
        with subprocess.Popen([sys.argv[2], sys.argv[1], name], stdout=subprocess.PIPE,
                              text=True) as worker:
            by_python = work(search, training, name, shapes, (num_pairs + 1) // 2, joined)
            output, _ = worker.communicate(timeout=SECONDS)
        assert worker.returncode == 0, f"the worker in C++ ended with {worker.returncode}"
        by_cpp = collections.Counter()
        for generation, count in (map(int, line.split()[1:]) for line in output.splitlines()):
            by_cpp[generation] += count
        for generation in range(1, GENERATIONS + 1):
            told = by_python[generation], by_cpp[generation]
            assert sum(told) == num_pairs and min(told) == num_pairs // 2, (name, generation, told)
        version, served = pull(training, name)
        assert version == GENERATIONS
        reports = {record.version: record.report
                   for message in sessions.WatchSession(
                       session_service_pb2.WatchSessionRequest(session_id=name))
                   for record in message.records}
        replayed = replay(search, name, shapes, config, reports)
        assert replayed.tobytes() == served.tobytes(), np.flatnonzero(replayed != served)
        left = loss_at(served) / served.size
        assert left < 0.99, f"{name} does not descend: {left}"
        print(f"python: {name} has the server's bits after {version} generations, each shared with "
              f"C++; {left:.3f} of the loss is left")


main()
