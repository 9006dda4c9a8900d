# SPDX-License-Identifier: Apache-2.0
"""What proto/CLIENTS.md says of the server, tried on a server with generated code and gRPC only.

    page_test.py ADDRESS, with the generated code on the path
"""

import pathlib
import queue
import re
import struct
import sys
import threading
import time
import unittest
import unittest.mock

import grpc
import worker
from talweg.v1 import section_pb2 as section
from talweg.v1 import session_pb2
from talweg.v1 import session_service_pb2 as sessions
from talweg.v1 import session_service_pb2_grpc
from talweg.v1 import training_service_pb2 as training
from talweg.v1 import training_service_pb2_grpc

ADDRESS = sys.argv.pop(1)
PAGE = pathlib.Path(__file__).parents[2] / "proto" / "CLIENTS.md"
LARGE = [("grpc.max_receive_message_length", 65 << 20), ("grpc.max_send_message_length", 65 << 20)]
GRADIENT = section.SECTION_KIND_GRADIENT
DIFFERENCE = section.SECTION_KIND_DIFFERENCE
APPLIED, PENDING = training.VERDICT_APPLIED, training.VERDICT_PENDING


def connect(options):
    channel = grpc.insecure_channel(ADDRESS, options + [("grpc.use_local_subchannel_pool", 1)])
    return (session_service_pb2_grpc.SessionServiceStub(channel),
            training_service_pb2_grpc.TrainingServiceStub(channel))


class Refused(Exception):
    """An error with a reason of ours: `details` has the bytes of its google.rpc.Status."""

    def __init__(self, error):
        super().__init__(error.details())
        self.details = dict(error.trailing_metadata() or {}).get("grpc-status-details-bin", b"")


def refusals(call, *arguments, **options):
    try:
        return call(*arguments, **options)
    except grpc.RpcError as error:
        raise Refused(error) from None


class PageTest(unittest.TestCase):
    def setUp(self):
        self.sessions, self.training = connect(LARGE)
        self.id = self._testMethodName

    def create_request(self, size=2, **aggregation):
        request = sessions.CreateSessionRequest(session_id=self.id, request_id="agreed")
        request.config.layout.tensors.add(name="w", shape=[size])
        request.config.optimizer.gradient_descent.SetInParent()
        request.config.schedule.learning_rate = 0.5
        for name, value in aggregation.items():
            setattr(request.config.aggregation, name, value)
        request.initial_values.seeded.rules.add(tensors="*").constant.value = 1
        return request

    def create(self, size=2, **aggregation):
        return self.sessions.CreateSession(self.create_request(size, **aggregation)).session

    def join(self, worker="a"):
        joined = self.sessions.Join(sessions.JoinRequest(session_id=self.id, worker=worker))
        header = training.ContributionHeader(session_id=self.id, history=joined.history,
                                             worker=worker, incarnation=joined.incarnation)
        return header

    def step(self, header, sequence, gradient=(1, 2), dtype=section.DTYPE_UNSPECIFIED, data=False,
             kind=GRADIENT, base_version=0, weight=None, losses=(), **reply):
        request = training.StepRequest(header=header)
        request.header.sequence = sequence
        request.header.base_version = base_version
        request.header.losses.extend(losses)
        if weight is not None:
            request.header.weight = weight
        part = request.sections.add(kind=kind, dtype=dtype)
        if data:
            code = "e" if dtype == section.DTYPE_FLOAT16 else "f"
            part.data = struct.pack("<%d%s" % (len(gradient), code), *gradient)
        else:
            part.values.extend(gradient)
        for name, value in reply.items():
            setattr(request.reply, name, value)
        return refusals(self.training.Step, request)

    def assert_refused(self, reason, keys, call, *arguments, **options):
        with self.assertRaises(Refused) as caught:
            call(*arguments, **options)
        for word in [reason] + keys:
            self.assertIn(word.encode(), caught.exception.details)

    # Frames of one contribution over a stream; `data` is cut into `chunks`.
    def frames(self, header, sequence, chunks, base_version=0):
        first = training.StreamStepRequest()
        first.header.header.CopyFrom(header)
        first.header.header.sequence = sequence
        first.header.header.base_version = base_version
        yield first
        begin = 0
        for chunk in chunks:
            frame = training.StreamStepRequest()
            frame.chunk.section.kind = GRADIENT
            frame.chunk.section.begin_element = begin
            frame.chunk.section.data = struct.pack("<%df" % len(chunk), *chunk)
            begin += len(chunk)
            yield frame
        last = training.StreamStepRequest()
        last.commit.SetInParent()
        yield last

    def stream(self, frames):
        """Sends the first frame, waits for the grant, then sends the rest; returns all answers."""
        waiting = queue.Queue()
        answers = self.training.StreamStep(iter(waiting.get, None))
        frames = list(frames)
        waiting.put(frames[0])
        got = [next(answers)]
        for frame in frames[1:]:
            waiting.put(frame)
        try:
            while not got[-1].HasField("trailer"):
                got.append(next(answers))
        finally:
            waiting.put(None)
        return got

    def test_a_fleet_may_send_the_same_create(self):
        history = self.create().history
        self.assertEqual(history, self.create().history)
        spelled_out = self.create_request()
        spelled_out.config.schedule.warmup_steps = 0
        self.assert_refused("SESSION_EXISTS", [], refusals, self.sessions.CreateSession,
                            spelled_out)

    def test_a_history_fits_into_a_float64(self):
        history = self.create().history
        self.assertEqual(history, int(float(history)))
        self.assertLess(history, 2**53)

    def test_the_payload_is_numbers_and_not_how_they_travel(self):
        self.create()
        header = self.join()
        self.assertFalse(self.step(header, 1).replayed)
        for same in ({"data": True}, {"data": True, "dtype": section.DTYPE_FLOAT16},
                     {"weight": 1.0}, {"data": True, "max_reply_bytes": 1 << 20}):
            self.assertTrue(self.step(header, 1, **same).replayed, same)
        none = self.step(header, 1)
        self.assertEqual(none.applied_version, 1)
        streamed = self.stream(self.frames(header, 1, [[1, 2]]))
        self.assertTrue(streamed[-1].trailer.response.replayed)
        for other in ({"gradient": (1, 3)}, {"kind": DIFFERENCE}, {"base_version": 1},
                      {"weight": 2.0}, {"losses": [1.0]}):
            self.assert_refused("SEQUENCE_REUSED", [], self.step, header, 1, **other)
        self.step(header, 3, base_version=1)
        self.assert_refused("SEQUENCE_TOO_OLD", [], self.step, header, 1)

    def test_a_reduction_without_weights_takes_no_weight_of_1_either(self):
        for reduction, more in ((session_pb2.REDUCTION_MEDIAN, {}),
                                (session_pb2.REDUCTION_TRIMMED_MEAN, {"trim_fraction": 0.0})):
            self.id = "%s_%d" % (self._testMethodName, reduction)
            self.create(mode=session_pb2.AGGREGATION_MODE_SYNCHRONOUS, reduction=reduction,
                        max_workers=2, **more)
            header = self.join()
            self.assert_refused("FIELD_OUT_OF_RANGE", [], self.step, header, 1, weight=1.0)
            self.assertEqual(self.step(header, 1).verdict, APPLIED)

    def test_every_program_joins_with_a_nonce(self):
        programs = re.findall("```(go|java|python|typescript)\n(.*?)```", PAGE.read_text(), re.S)
        self.assertEqual(len(programs), 5)
        for language, text in programs:
            self.assertIn("nonce", text.lower(), language)

    def test_the_worker_of_the_page_keeps_its_lease_while_it_computes(self):
        self.create(lease_seconds=1)
        joined = self.sessions.Join(sessions.JoinRequest(session_id=self.id, worker="a"))
        stopped = threading.Event()
        beats = threading.Thread(target=worker.beat,
                                 args=(self.sessions, self.id, "a", joined, stopped))
        beats.start()
        live = sessions.GetSessionRequest(session_id=self.id)
        try:
            time.sleep(2.5)
            self.assertEqual(self.sessions.GetSession(live).session.num_live_workers, 1)
        finally:
            stopped.set()
            beats.join(5)
        self.assertFalse(beats.is_alive())
        time.sleep(1.5)
        self.assertEqual(self.sessions.GetSession(live).session.num_live_workers, 0)

    def test_the_worker_of_the_page_draws_its_pauses_at_random(self):
        class Unavailable(grpc.RpcError):
            def code(self):
                return grpc.StatusCode.UNAVAILABLE

        def pauses():
            call = unittest.mock.Mock(side_effect=Unavailable)
            with unittest.mock.patch.object(worker.time, "sleep") as sleep:
                with self.assertRaises(Unavailable):
                    worker.retry(call, None)
            return [pause.args[0] for pause in sleep.call_args_list]

        first, second = pauses(), pauses()
        self.assertNotEqual(first, second)
        for index, pause in enumerate(first):
            middle = min(0.1 * 2**index, 5)
            self.assertTrue(middle / 2 <= pause <= 1.5 * middle, first)

    def test_a_repeat_may_ask_for_other_data(self):
        self.create()
        header = self.join()
        without = training.REPLY_DATA_NONE
        first = training.StepRequest(header=header)
        first.header.sequence = 1
        first.reply.data = without
        first.sections.add(kind=GRADIENT, values=[1, 2])
        self.assertEqual(len(self.training.Step(first).sections), 0)
        first.reply.data = training.REPLY_DATA_UPDATE
        repeated = self.training.Step(first)
        self.assertTrue(repeated.replayed)
        self.assertEqual(repeated.sections[0].kind, section.SECTION_KIND_PARAMETERS)

    def test_a_pending_answer_carries_an_old_version_and_is_asked_again(self):
        self.create(mode=session_pb2.AGGREGATION_MODE_SYNCHRONOUS)
        a, b = self.join("a"), self.join("b")
        answer = self.step(a, 1, return_pending=True)
        self.assertEqual((answer.verdict, answer.data_version, answer.applied_version),
                         (PENDING, 0, 1))
        self.assertEqual(answer.sections[0].data, struct.pack("<2f", 1, 1))
        self.assertEqual(self.step(b, 1).verdict, APPLIED)
        answer = self.step(a, 1, return_pending=True)
        # The first time that the worker hears of the verdict.
        self.assertEqual((answer.verdict, answer.data_version), (APPLIED, 1))
        self.assertTrue(answer.replayed)

    def test_a_newer_sequence_takes_the_place_of_a_pending_one(self):
        self.create(mode=session_pb2.AGGREGATION_MODE_SYNCHRONOUS)
        a = self.join("a")
        self.join("b")
        self.step(a, 1, return_pending=True)
        second = self.step(a, 2, gradient=(5, 5), return_pending=True)
        self.assertEqual(second.verdict, PENDING)
        self.assertTrue(second.will_not_count)
        self.assert_refused("SEQUENCE_TOO_OLD", [], self.step, a, 1, return_pending=True)

    def test_accumulation_goes_on_under_the_next_sequence(self):
        self.create(gradient_accumulation_steps=2)
        header = self.join()
        self.assertEqual(self.step(header, 1).verdict, PENDING)
        answer = self.step(header, 2)
        self.assertEqual((answer.verdict, answer.data_version), (APPLIED, 1))

    def test_after_another_history_one_joins_anew(self):
        self.create()
        header = self.join()
        self.sessions.DeleteSession(sessions.DeleteSessionRequest(session_id=self.id))
        self.create()
        self.assert_refused("HISTORY_CHANGED", ["history", "version"], self.step, header, 1)
        same_worker = training.ContributionHeader()
        same_worker.CopyFrom(header)
        same_worker.history = self.sessions.GetSession(
            sessions.GetSessionRequest(session_id=self.id)).session.history
        self.assert_refused("WORKER_NOT_JOINED", [], self.step, same_worker, 1)
        self.assertEqual(self.step(self.join(), 1).verdict, APPLIED)

    def test_metadata_names_what_to_go_on_from(self):
        self.create()
        self.step(self.join(), 1)

        def pull():
            return list(self.training.Pull(training.PullRequest(session_id=self.id, version=0)))
        self.assert_refused("VERSION_GONE", ["history", "version"], refusals, pull)
        self.id += "-huge"
        self.assert_refused("MEMORY_QUOTA", ["asked_bytes", "used_bytes", "allowed_bytes"],
                            refusals, self.sessions.CreateSession, self.create_request(2**38))

    def test_a_reply_that_the_channel_refuses_was_made(self):
        size = 2 << 20
        self.create(size)
        header = self.join()
        _, self.training = connect([("grpc.max_send_message_length", 65 << 20)])
        request = training.StepRequest(header=header)
        request.header.sequence = 1
        request.sections.add(kind=GRADIENT, data=bytes(4 * size))
        request.reply.max_reply_bytes = 65 << 20
        with self.assertRaises(grpc.RpcError) as caught:
            self.training.Step(request)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        request.reply.data = training.REPLY_DATA_NONE
        answer = self.training.Step(request)
        self.assertEqual((answer.verdict, answer.replayed), (APPLIED, True))

    def test_the_grant_of_the_next_contribution_comes_before_the_data(self):
        self.create()
        kinds = [answer.WhichOneof("frame")
                 for answer in self.stream(self.frames(self.join(), 1, [[1, 2]]))]
        self.assertEqual(kinds, ["grant", "grant", "chunk", "trailer"])

    def test_chunks_have_256_kib_to_4_mib_except_the_last(self):
        elements = 1 << 17  # 512 KiB
        self.create(elements)
        header = self.join()
        whole = [0.0] * elements
        self.stream(self.frames(header, 1, [whole[: 1 << 16], whole[1 << 16:]]))
        small = self.frames(header, 2, [whole[: 1 << 10], whole[1 << 10:]], base_version=1)
        self.assert_refused("FIELD_OUT_OF_RANGE", ["chunk.section.data"], refusals, self.stream,
                            small)
        gap = list(self.frames(header, 2, [whole[: 1 << 16], whole[1 << 16:]], base_version=1))
        self.assert_refused("CHUNK_MISPLACED", ["expected_element"], refusals, self.stream,
                            [gap[0], gap[2], gap[3]])

    def upload(self, create, values, stop_after=None):
        """Brings `values` from the element that the grant names, in chunks of 64 Ki elements.

        Returns that element (None without a grant) and the session. With `stop_after` the commit
        comes behind so many elements.
        """
        waiting = queue.Queue()
        answers = self.sessions.UploadSession(iter(waiting.get, None))
        waiting.put(sessions.UploadSessionRequest(create=create))
        try:
            first = next(answers)
            if first.HasField("created"):
                return None, first.created.session
            begin = first.grant.begin_element
            for start in range(begin, stop_after or len(values), 1 << 16):
                part = values[start:min(start + (1 << 16), len(values))]
                frame = sessions.UploadSessionRequest()
                frame.chunk.section.kind = section.SECTION_KIND_PARAMETERS
                frame.chunk.section.begin_element = start
                frame.chunk.section.data = struct.pack("<%df" % len(part), *part)
                waiting.put(frame)
            commit = sessions.UploadSessionRequest()
            commit.commit.SetInParent()
            waiting.put(commit)
            return begin, next(answers).created.session
        finally:
            waiting.put(None)

    def test_an_upload_goes_on_with_the_same_create(self):
        values = [float(i % 1000) for i in range((3 << 16) + 5)]
        create = self.create_request(len(values))
        self.assert_refused("FIELD_OUT_OF_RANGE", ["create.initial_values"], refusals, self.upload,
                            create, values)
        create.ClearField("initial_values")
        # The commit comes too early: what has arrived stays.
        self.assert_refused("CHUNK_MISPLACED", ["expected_element"], refusals, self.upload, create,
                            values, stop_after=2 << 16)
        begin, session = self.upload(create, values)
        self.assertEqual(begin, 2 << 16)
        # The answer was lost.
        begin, again = self.upload(create, values)
        self.assertIsNone(begin)
        self.assertEqual(session.history, again.history)
        pulled = self.training.Pull(training.PullRequest(session_id=self.id))
        data = b"".join(message.section.data for message in pulled)
        self.assertEqual(data, struct.pack("<%df" % len(values), *values))

    def test_a_client_that_pings_more_often_than_every_ten_seconds_is_cut_off(self):
        self.create(mode=session_pb2.AGGREGATION_MODE_SYNCHRONOUS)
        header = self.join("a")
        self.join("b")  # is waited for
        request = training.StepRequest(header=header)
        request.header.sequence = 1
        request.sections.add(kind=GRADIENT, values=[1, 2])
        _, hasty = connect([("grpc.keepalive_time_ms", 2000),
                            ("grpc.http2.max_pings_without_data", 0)])
        with self.assertRaises(grpc.RpcError) as caught:
            hasty.Step(request, timeout=25)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertIn("too many pings", caught.exception.details().lower())


if __name__ == "__main__":
    unittest.main(verbosity=2)
