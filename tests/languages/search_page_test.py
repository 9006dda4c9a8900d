# SPDX-License-Identifier: Apache-2.0
"""The search worker of proto/CLIENTS.md, against a server: every kind of lease, and what goes wrong.

    search_page_test.py ADDRESS, with the generated code, the page's two programs in Python
    (worker.py, search_worker.py) and client/python on the path
"""
import contextlib
import io
import sys
import threading
import unittest
import unittest.mock

import grpc
import numpy as np
import search_worker
from google.protobuf import json_format
from talweg.v1 import (search_service_pb2, search_service_pb2_grpc, session_service_pb2,
                       session_service_pb2_grpc, training_service_pb2, training_service_pb2_grpc)

ADDRESS = sys.argv.pop(1)
GENERATIONS = 20


def sum_of_squares(w, _):
    return np.sum(np.square(w))


class SearchPageTest(unittest.TestCase):
    def setUp(self):
        self.channel = grpc.insecure_channel(ADDRESS)
        self.addCleanup(self.channel.close)
        self.sessions = session_service_pb2_grpc.SessionServiceStub(self.channel)
        self.training = training_service_pb2_grpc.TrainingServiceStub(self.channel)
        self.search = search_service_pb2_grpc.SearchServiceStub(self.channel)
        self.id = self._testMethodName

    def create(self, search=None, optimizer="adam", learning_rate=0.1):
        request = session_service_pb2.CreateSessionRequest(session_id=self.id)
        json_format.ParseDict({
            "config": {
                "layout": {"tensors": [{"name": "matrix", "shape": [3, 4]},
                                       {"name": "vector", "shape": [5]}]},
                "optimizer": {optimizer: {}}, "schedule": {"learning_rate": learning_rate},
                "search": {"method": "SEARCH_METHOD_EVOLUTION_STRATEGY", "num_pairs": 20,
                           "sigma": 0.1, "max_generations": GENERATIONS, **(search or {})}},
            "initial_values": {"seeded": {"rules": [
                {"tensors": "*", "constant": {"value": 1}}]}}}, request)
        self.sessions.CreateSession(request)

    def session(self):
        return self.sessions.GetSession(
            session_service_pb2.GetSessionRequest(session_id=self.id)).session

    def parameters(self):
        parts = self.training.Pull(training_service_pb2.PullRequest(session_id=self.id))
        return np.frombuffer(b"".join(part.section.data for part in parts), "<f4")

    def counted(self):
        """Losses of each generation."""
        return [len(message.record.losses) for message in self.search.WatchGenerations(
            search_service_pb2.WatchGenerationsRequest(session_id=self.id))]

    def work(self, loss_at=sum_of_squares, **options):
        return search_worker.work(ADDRESS, self.id, "a", loss_at, **options)

    def assert_descends(self):
        self.assertLess(sum_of_squares(self.parameters(), None), 0.5 * 17)

    def test_every_kind_of_lease(self):
        kinds = {
            "normals": {},
            "signs": {"noise": "NOISE_SCHEME_RADEMACHER"},
            "low_rank": {"perturbation": "PERTURBATION_LOW_RANK", "rank": 2},
            "low_rank_signs": {"perturbation": "PERTURBATION_LOW_RANK", "rank": 1,
                               "noise": "NOISE_SCHEME_RADEMACHER"},
            "one_sided": {"differences": "DIFFERENCES_ONE_SIDED",
                          "baseline": "BASELINE_EVALUATED"},
            "evaluated": {"evaluate_every": 3},
        }
        for kind, search in kinds.items():
            with self.subTest(kind):
                self.id = f"{self._testMethodName}_{kind}"
                self.create(search)
                self.assertEqual(self.work(), GENERATIONS)
                self.assert_descends()
                self.assertEqual(set(self.counted()), {20 if kind == "one_sided" else 40})

    def test_gradients_are_taken_at_the_lookahead(self):
        self.create(optimizer="nesterov", learning_rate=0.02)
        with unittest.mock.patch.object(search_worker, "pull", wraps=search_worker.pull) as pull:
            self.assertEqual(self.work(), GENERATIONS)
        points = [call.args[2].point for call in pull.call_args_list]
        self.assertEqual(points, [training_service_pb2.POINT_LOOKAHEAD] * GENERATIONS)
        self.assert_descends()

    def test_what_fails_is_evaluated_again(self):
        self.create()
        calls = []

        def fails_at_times(w, data_seed):
            calls.append(data_seed)
            if len(calls) % 7 == 0:
                raise FloatingPointError
            return sum_of_squares(w, data_seed)

        self.assertEqual(self.work(fails_at_times), GENERATIONS)
        self.assertEqual(set(self.counted()), {40})
        self.assertEqual(len(set(calls)), GENERATIONS)  # one seed of data for each generation
        self.assert_descends()

    def test_losses_that_are_all_nan_make_no_version_and_are_told_as_dropped(self):
        self.create()
        num_calls = 0

        def nothing(*_):
            nonlocal num_calls
            num_calls += 1
            if num_calls > 400:
                raise KeyboardInterrupt
            return float("nan")

        said = io.StringIO()
        with contextlib.redirect_stderr(said), self.assertRaises(KeyboardInterrupt):
            self.work(nothing)
        self.assertIn("8 pairs were dropped", said.getvalue())
        session = self.session()
        self.assertEqual(session.version, 0)
        self.assertGreater(session.open_generation.generation, 5)

    def test_workers_that_close_each_others_generations_share_the_search(self):
        # The first half of the pairs closes a generation, so leases and versions go all the time.
        self.create({"close": "GENERATION_CLOSE_COUNT", "close_pairs": 10, "max_generations": 200})
        last = []
        workers = [threading.Thread(target=lambda name=name: last.append(search_worker.work(
            ADDRESS, self.id, name, sum_of_squares, capacity=2))) for name in "abc"]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        self.assertEqual(last, [200, 200, 200])
        self.assertEqual(set(self.counted()), {20})

    def test_a_point_whose_version_is_gone_is_none(self):
        self.create({"max_generations": 1})
        lease = search_service_pb2.EvaluationLease(history=self.session().history, version=0)
        self.assertEqual(search_worker.pull(self.training, self.id, lease).tolist(), [1] * 17)
        self.work()
        self.assertIsNone(search_worker.pull(self.training, self.id, lease))
        lease.history += 1
        with self.assertRaises(grpc.RpcError):  # HISTORY_CHANGED
            search_worker.pull(self.training, self.id, lease)


if __name__ == "__main__":
    unittest.main(verbosity=2)
