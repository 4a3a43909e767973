//! The requests, made and signed before anything is measured: the callers shall not be what is measured.

use std::sync::Arc;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use lgsp_certs::{Purpose, SigningKey};
use lgsp_proto::v1;
use prost::Message as _;

use crate::world::{SENDER, World};

/// The length of every body.
pub(crate) const BODY_BYTES: usize = 1024;

/// The party of the portal.
const PORTAL: &str = "H57.CDV";

/// What the field `form` costs beside its content when that is 128 to 16,383 bytes long: a tag and two bytes of length.
const FORM_FRAME: usize = 3;

/// Signed submissions, each with a key of its own. The same serve every run, for every run begins with empty books.
pub(crate) type Requests = Arc<[v1::SubmitRequest]>;

/// Makes `count` of them, on all cores.
pub(crate) fn prepare(count: usize, world: &World) -> anyhow::Result<Requests> {
    prepare_for(count, world, SENDER, PORTAL)
}

/// Makes `count` that `system` sends for `party`.
pub(crate) fn prepare_for(count: usize, world: &World, system: &str, party: &str) -> anyhow::Result<Requests> {
    // Only for its key: nothing is called.
    let link = world.link(system, "127.0.0.1:1")?;
    let cores = std::thread::available_parallelism()?.get();
    let share = count.div_ceil(cores);
    let key = &link.signing_key();
    std::thread::scope(|scope| {
        let parts: Vec<_> = (0..count)
            .step_by(share)
            .map(|from| {
                scope.spawn(move || (from..count.min(from + share)).map(|n| signed(n, world, party, key)).collect())
            })
            .collect();
        let mut requests = Vec::with_capacity(count);
        for part in parts {
            let part: anyhow::Result<Vec<_>> = part.join().expect("a panic has been reported by its thread");
            requests.extend(part?);
        }
        Ok(requests.into())
    })
}

/// The number of the request whose body this is.
pub(crate) fn number_of(body: &Bytes) -> anyhow::Result<usize> {
    let submission = v1::Submission::decode(body.clone())?;
    submission.request_key.parse().context("a body that was not sent by this benchmark")
}

fn signed(number: usize, world: &World, party: &str, key: &SigningKey) -> anyhow::Result<v1::SubmitRequest> {
    let mut submission = birth(number, party, &world.communes[number % world.communes.len()].1);
    let room = BODY_BYTES.checked_sub(submission.encoded_len() + FORM_FRAME);
    submission.form = vec![b'.'; room.context("the submission is too long without its form")?].into();
    let submission = Bytes::from(submission.encode_to_vec());
    ensure!(submission.len() == BODY_BYTES, "the body has {} bytes", submission.len());
    Ok(v1::SubmitRequest {
        signature: key.sign(Purpose::Submission, &submission).into(),
        submission,
        ..v1::SubmitRequest::default()
    })
}

/// A birth to be registered, with the recognition of the father, in the commune of `locality`; handed in over the portal. The
/// procedure has no component that must come as a document. The person is invented.
fn birth(number: usize, party: &str, locality: &str) -> v1::Submission {
    v1::Submission {
        request_key: number.to_string(),
        acting_party: party.into(),
        actor: "cb.thu".into(),
        procedure_code: "1.000689".into(),
        applicant: Some(v1::Applicant {
            kind: v1::ApplicantKind::Citizen.into(),
            full_name: "Nguyễn Văn Thử".into(),
            personal_number: "046090000017".into(),
            date_of_birth: "1990-05-06".into(),
            sex: v1::Sex::Male.into(),
            ..Default::default()
        }),
        locality: locality.into(),
        intake_channel: v1::IntakeChannel::Online.into(),
        return_channel: v1::ReturnChannel::Direct.into(),
        // 09:00 in Huế on 14 July 2025, when the business clock stands.
        received_at: Some(prost_types::Timestamp { seconds: 1_752_458_400, nanos: 0 }),
        components: vec![v1::Component { code: "to-khai".into(), originals: 1, ..Default::default() }],
        summary: "Đăng ký khai sinh kết hợp đăng ký nhận cha, mẹ, con".into(),
        ..Default::default()
    }
}
