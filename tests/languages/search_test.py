# SPDX-License-Identifier: Apache-2.0
"""search_test.py ADDRESS WORKER: workers in Python and C++ share each generation of a search.

This process works beside WORKER (search_worker.cc) until the search is finished. Then both replay
it from the losses alone, this one with NumPy, and want the parameters of the server, bit for bit.
"""
import pathlib
import subprocess
import sys

import grpc
import numpy as np
from google.protobuf import json_format

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "client/python"))
import talweg_noise
from talweg.v1 import (search_pb2, search_service_pb2, search_service_pb2_grpc,
                       session_service_pb2, session_service_pb2_grpc, training_service_pb2,
                       training_service_pb2_grpc)

SHAPES = [(6, 5), (7,), (2, 3, 4), ()]
RATE = 0.25  # a power of two: its product with a float32 is exact in either order
GENERATIONS = 12
KINDS = {
    "dense": {"num_pairs": 70},
    "signs": {"num_pairs": 33, "noise": "NOISE_SCHEME_RADEMACHER",
              "shaping": "SHAPING_Z_SCORE"},
    "low_rank": {"num_pairs": 20, "perturbation": "PERTURBATION_LOW_RANK", "rank": 3,
                 "shaping": "SHAPING_CENTERED_RANKS"},
}


def create(sessions, name, search):
    config = {
        "layout": {"tensors": [{"name": f"t{i}", "shape": list(shape)}
                               for i, shape in enumerate(SHAPES)]},
        "optimizer": {"gradient_descent": {}},
        "schedule": {"learning_rate": RATE},
        "search": {"method": "SEARCH_METHOD_EVOLUTION_STRATEGY", "seed": 11, "sigma": 0.125,
                   "scale": "SCALE_GRADIENT", "max_generations": GENERATIONS, **search},
    }
    request = session_service_pb2.CreateSessionRequest(session_id=name)
    json_format.ParseDict({"config": config, "initial_values": {"seeded": {"rules": [
        {"tensors": "*", "constant": {"value": 1}}]}}}, request)
    sessions.CreateSession(request)


def pull(training, name, version=None):
    """(version, float32 [num_elements]), or None if `version` is gone."""
    request = training_service_pb2.PullRequest(session_id=name)
    if version is not None:
        request.version = version
    try:
        messages = list(training.Pull(request))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.FAILED_PRECONDITION, error
        return None
    data = b"".join(message.section.data for message in messages)
    return messages[0].version, np.frombuffer(data, "<f4").astype(np.float32)


def work(search, training, name, joined):
    """Evaluates the sum of squares until the search is finished; returns the pairs that counted."""
    who = {"session_id": name, "history": joined.history, "worker": "python",
           "incarnation": joined.incarnation}
    counted = 0
    while True:
        answer = search.Ask(search_service_pb2.AskRequest(capacity=4, **who), timeout=60)
        if not answer.HasField("lease"):
            assert answer.HasField("finished"), answer
            return counted
        lease = answer.lease
        pulled = pull(training, name, lease.version)
        if pulled is None:
            continue
        noise = talweg_noise.Noise(
            SHAPES, lease.seed, lease.sigma, rank=lease.rank,
            rademacher=lease.noise == search_pb2.NOISE_SCHEME_RADEMACHER)
        losses = [np.sum(np.square(noise.perturb(pulled[1], lease.generation, pair, sign)))
                  for pair in range(lease.first_pair, lease.first_pair + lease.num_pairs)
                  for sign in (+1, -1)]
        told = search.Tell(search_service_pb2.TellRequest(
            generation=lease.generation, first_pair=lease.first_pair, losses=losses, **who))
        counted += told.num_accepted


def replay(search, name, kind):
    """The parameters of the last version, from the losses alone."""
    w = np.ones(sum(int(np.prod(shape)) for shape in SHAPES), np.float32)
    for message in search.WatchGenerations(
            search_service_pb2.WatchGenerationsRequest(session_id=name)):
        record = message.record
        assert not record.counted, "every pair counts"
        noise = talweg_noise.Noise(SHAPES, 11, record.sigma, rank=kind.get("rank", 0),
                                   rademacher="noise" in kind)
        weights, factor = talweg_noise.weigh(
            np.reshape(np.array(record.losses, np.float64), (-1, 2)), record.sigma,
            shaping=kind.get("shaping", "SHAPING_NONE").removeprefix("SHAPING_"))
        gradient = noise.estimate(record.generation, dict(enumerate(weights)), factor)
        w = w - np.float32(record.learning_rate) * gradient
    return w


def main():
    channel = grpc.insecure_channel(sys.argv[1])
    sessions = session_service_pb2_grpc.SessionServiceStub(channel)
    training = training_service_pb2_grpc.TrainingServiceStub(channel)
    search = search_service_pb2_grpc.SearchServiceStub(channel)
    for name, kind in KINDS.items():
        name = f"search_{name}"
        create(sessions, name, kind)
        joined = sessions.Join(session_service_pb2.JoinRequest(session_id=name, worker="python"))
        with subprocess.Popen([sys.argv[2], sys.argv[1], name], stdout=subprocess.PIPE,
                              text=True) as worker:
            by_python = work(search, training, name, joined)
            output, _ = worker.communicate(timeout=120)
        assert worker.returncode == 0, f"the worker in C++ ended with {worker.returncode}"
        by_cpp = sum(int(line.split()[1]) for line in output.splitlines())
        assert by_python + by_cpp == GENERATIONS * kind["num_pairs"], (by_python, by_cpp)
        assert by_python > 0 and by_cpp > 0, (by_python, by_cpp)
        version, served = pull(training, name)
        assert version == GENERATIONS
        replayed = replay(search, name, kind)
        assert replayed.tobytes() == served.tobytes(), np.flatnonzero(replayed != served)
        assert np.sum(np.square(served)) < 0.5 * served.size, "it descends"
        print(f"python: {name} has the server's bits after {version} generations; "
              f"{by_python} pairs by Python, {by_cpp} by C++")


main()
