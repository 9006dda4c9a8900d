# SPDX-License-Identifier: Apache-2.0
"""digest_test.py ADDRESS VECTORS: the run of proto/vectors/state_digest.json, from the proto alone.

Wants the published digests from the server, and makes them once more here: the parameters by
hashlib, and the digest of the state from the text that proto/README.md describes.
"""
import hashlib
import json
import pathlib
import struct
import sys

import grpc
from google.protobuf import json_format
from talweg.v1 import (session_service_pb2, session_service_pb2_grpc, training_service_pb2,
                       training_service_pb2_grpc)


def float32s(values):
    """The nearest float32 of each: of the difference of two float32, the one that float32 makes."""
    return struct.unpack(f"<{len(values)}f", struct.pack(f"<{len(values)}f", *values))


def main():
    published = json.loads(pathlib.Path(sys.argv[2]).read_text(encoding="utf-8"))
    channel = grpc.insecure_channel(sys.argv[1])
    sessions = session_service_pb2_grpc.SessionServiceStub(channel)
    training = training_service_pb2_grpc.TrainingServiceStub(channel)
    request = session_service_pb2.CreateSessionRequest(session_id="digest")
    json_format.ParseDict({name: published[name] for name in ("config", "initial_values")}, request)
    sessions.CreateSession(request)
    joined = sessions.Join(session_service_pb2.JoinRequest(session_id="digest", worker="a"))
    (pulled,) = training.Pull(training_service_pb2.PullRequest(session_id="digest"))
    data = pulled.section.data
    (thousandth,) = float32s([0.001])
    target = float32s([i % 1000 * thousandth for i in range(pulled.num_elements)])

    version = 0
    for state in published["states"]:
        while version < state["version"]:
            w = struct.unpack(f"<{len(target)}f", data)
            gradient = struct.pack(f"<{len(target)}f", *(x - t for x, t in zip(w, target)))
            answer = training.Step(training_service_pb2.StepRequest(
                header={"session_id": "digest", "history": joined.history, "worker": "a",
                        "incarnation": joined.incarnation, "sequence": version + 1,
                        "base_version": version},
                sections=[{"kind": "SECTION_KIND_GRADIENT", "data": gradient}]))
            version, data = answer.data_version, answer.sections[0].data
        digest = sessions.GetSession(session_service_pb2.GetSessionRequest(
            session_id="digest", include_digest=True)).session.state_digest
        assert digest.scheme == published["scheme"] and digest.version == version, digest
        assert digest.sha256 == state["sha256"], (digest, state)
        assert digest.vectors[0].sha256 == hashlib.sha256(data).hexdigest(), digest
        text = f"{digest.scheme}\nversion {digest.version}\n" + "".join(
            f"{v.name} {v.type} {v.num_elements} {v.sha256}\n" for v in digest.vectors)
        assert text == state["text"], text
        assert hashlib.sha256(text.encode()).hexdigest() == digest.sha256, text
    print(f"python: version {version} has the published digest")


main()
