"""A client of the bus made of stock parts only: grpcio, code generated from proto/, a certificate.

It does what an agency's developer does on the first afternoon: hands a signed dossier in over mutual TLS, checks the receipt
with the gateway's certificate, reads the dossier back, and provokes a refusal to see what it says. What it saw is printed
as one JSON object; judging it is the caller's business (main.rs).

The person handed in is invented.
"""

import argparse
import hashlib
import json
import sys

import grpc
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.rpc import error_details_pb2
from grpc_status import rpc_status

# Patience for one call, in seconds: a gateway on a busy machine answers well within.
PATIENCE = 30


def main():
    options = read_options()
    # The generated modules name each other from here.
    sys.path.insert(0, options.generated)
    from lgsp.v1 import dossier_pb2, dossiers_pb2, dossiers_pb2_grpc

    key_pem = read(options.key)
    credentials = grpc.ssl_channel_credentials(
        root_certificates=read(options.bundle), private_key=key_pem, certificate_chain=read(options.certificate)
    )
    key = serialization.load_pem_private_key(key_pem, password=None)
    gateway = x509.load_pem_x509_certificate(read(options.gateway_certificate))

    with grpc.secure_channel(options.gateway, credentials) as channel:
        dossiers = dossiers_pb2_grpc.DossiersStub(channel)

        submission = a_birth(dossier_pb2, options.received_at).SerializeToString()
        request = dossiers_pb2.SubmitRequest(submission=submission, signature=sign(key, "submission", submission))
        answer = dossiers.Submit(request, timeout=PATIENCE)
        receipt = dossier_pb2.Receipt.FromString(answer.receipt.receipt)
        again = dossiers.Submit(request, timeout=PATIENCE)

        question = dossiers_pb2.GetRequest(
            acting_party="H99.102", actor="clerk-binh-1", dossier_code=receipt.dossier_code, with_bodies=True
        )
        state = dossiers.Get(question, timeout=PATIENCE)

        seen = {
            "code": receipt.dossier_code,
            "receipt": {
                "signed_by_the_gateway": is_signed(gateway, answer.receipt.receipt, answer.receipt.signature),
                "still_signed_when_changed": is_signed(gateway, answer.receipt.receipt + b"\0", answer.receipt.signature),
                "names_the_gateways_certificate": answer.receipt.certificate_sha256 == gateway.fingerprint(hashes.SHA256()),
                "is_about_what_was_sent": receipt.body_sha256 == hashlib.sha256(submission).digest(),
                "competent_authority": receipt.competent_authority,
            },
            "repeat": {"repeated": again.repeated, "same_receipt": again.receipt == answer.receipt},
            "state": {
                "code": state.dossier.code,
                "status": dossier_pb2.Status.Name(state.dossier.status),
                "competent_authority": state.dossier.competent_authority,
                "events": [dossier_pb2.EventKind.Name(recorded.event.kind) for recorded in state.events],
                "body_is_what_was_sent": state.events[0].body == submission,
            },
            "refusal": refusal(dossiers, dossiers_pb2, dossier_pb2, key, options.received_at),
        }
    json.dump(seen, sys.stdout)


def a_birth(dossier_pb2, received_at):
    """A birth in commune An, taken in at commune Binh on paper, to be handed out at the province's centre."""
    submission = dossier_pb2.Submission(
        request_key="python-1",
        acting_party="H99.102",
        actor="clerk-binh-1",
        procedure_code="1.000001",
        applicant=dossier_pb2.Applicant(
            kind=dossier_pb2.APPLICANT_KIND_CITIZEN,
            full_name="NGƯỜI KIỂM THỬ",
            personal_number="046301123456",
            date_of_birth="2001-05-20",
            sex=dossier_pb2.SEX_FEMALE,
        ),
        locality="99001",
        intake_channel=dossier_pb2.INTAKE_CHANNEL_DIRECT,
        return_desk="H99.TT",
        return_channel=dossier_pb2.RETURN_CHANNEL_DIRECT,
        components=[dossier_pb2.Component(code="to-khai", name="Tờ khai", originals=1)],
    )
    submission.received_at.FromJsonString(received_at)
    return submission


def sign(key, purpose, body):
    """ECDSA P-256 with SHA-256 over the purpose's tag, a line feed, and exactly the bytes that are sent."""
    return key.sign(tagged(purpose, body), ec.ECDSA(hashes.SHA256()))


def is_signed(certificate, receipt, signature):
    try:
        certificate.public_key().verify(signature, tagged("receipt", receipt), ec.ECDSA(hashes.SHA256()))
        return True
    except InvalidSignature:
        return False


def tagged(purpose, body):
    return b"lgsp.v1." + purpose.encode() + b"\n" + body


def refusal(dossiers, dossiers_pb2, dossier_pb2, key, received_at):
    """Hands in a dossier with two malformed fields, and takes the refusal apart."""
    submission = a_birth(dossier_pb2, received_at)
    submission.request_key = "python-2"
    submission.applicant.personal_number = "12345"
    submission.locality = "An"
    body = submission.SerializeToString()
    try:
        request = dossiers_pb2.SubmitRequest(submission=body, signature=sign(key, "submission", body))
        dossiers.Submit(request, timeout=PATIENCE)
        return None
    except grpc.RpcError as error:
        told = {"code": error.code().name, "message": error.details()}
        for detail in rpc_status.from_call(error).details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
                told |= {"reason": info.reason, "domain": info.domain, "metadata": dict(info.metadata)}
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest.FromString(detail.value)
                told["fields"] = sorted(violation.field for violation in bad.field_violations)
            elif detail.Is(error_details_pb2.LocalizedMessage.DESCRIPTOR):
                told["locale"] = error_details_pb2.LocalizedMessage.FromString(detail.value).locale
        return told


def read_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--generated", required=True, help="folder of the code generated from proto/")
    parser.add_argument("--gateway", required=True, help="host:port")
    parser.add_argument("--certificate", required=True, help="the system's certificate, PEM")
    parser.add_argument("--key", required=True, help="its private key, PEM")
    parser.add_argument("--bundle", required=True, help="the roots that the gateway must chain to, PEM")
    parser.add_argument("--gateway-certificate", required=True, help="whose key signs receipts, PEM")
    parser.add_argument("--received-at", required=True, help="when the desk received the dossier, RFC 3339")
    return parser.parse_args()


def read(path):
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    main()
