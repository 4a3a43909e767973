//! What is wrong with bytes, before they are messages, is said in our words too.

use std::collections::BTreeSet;

use bytes::{Buf as _, BufMut as _, Bytes};
use http::uri::PathAndQuery;
use lgsp_gateway::api::{CHUNK_BYTES_MAX, MESSAGE_BYTES_MAX};
use lgsp_proto::{Reason, Refusal};
use prost::Message as _;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::world::*;

/// Sends bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, bytes: Bytes, into: &mut EncodeBuf<'_>) -> Result<(), Status> {
        into.put(bytes);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// Every RPC of the bus, from the description of its language. Joining has a door of its own.
pub(crate) fn every_rpc() -> BTreeSet<String> {
    let descriptors = prost_types::FileDescriptorSet::decode(lgsp_proto::DESCRIPTORS).unwrap();
    let services = descriptors.file.iter().flat_map(|file| {
        let of_the_bus = file.service.iter().filter(|service| service.name() != "Enrolment");
        of_the_bus.flat_map(|service| {
            service.method.iter().map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name()))
        })
    });
    services.collect()
}

/// Sends one message of these bytes to an RPC, and reads the answer to its end.
pub(crate) async fn send(channel: &Channel, rpc: &str, bytes: Bytes) -> Result<(), Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let request = Request::new(tokio_stream::once(bytes));
    let path = PathAndQuery::try_from(rpc).unwrap();
    let mut answers = within(grpc.streaming(request, path, Raw)).await?.into_inner();
    while within(answers.message()).await?.is_some() {}
    Ok(())
}

#[tokio::test]
async fn bytes_that_are_no_message_are_malformed_for_every_rpc() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let rpcs = every_rpc();
    assert!(rpcs.len() >= 13, "{rpcs:?}");
    for rpc in rpcs {
        let refused = refusal(send(&desk.channel, &rpc, Bytes::from_static(b"\xff\xff\xff\xff")).await);
        assert_eq!(refused, Refusal::new(Reason::Malformed), "{rpc}");
    }
}

#[tokio::test]
async fn a_message_longer_than_allowed_is_refused_with_the_limit_for_every_rpc() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    for rpc in every_rpc() {
        let limit = if rpc.contains(".Documents/") { CHUNK_BYTES_MAX } else { MESSAGE_BYTES_MAX };
        let long = Bytes::from(vec![0; limit + 1000]);
        let refused = refusal(send(&desk.channel, &rpc, long).await);
        assert_eq!(refused, Refusal::new(Reason::MessageTooLarge).detail("limit_bytes", limit), "{rpc}");
    }
    // And the connection lives on.
    assert_eq!(desk.admitted(&aid("k-1")).await, "H99.101-250714-0001");
}

#[tokio::test]
async fn the_largest_body_that_is_admitted_also_comes_back_whole() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let large = lgsp_proto::v1::Submission { form: vec![7; 1 << 20].into(), ..aid("k-1") };
    let code = desk.admitted(&large).await;
    let got = desk.get(AN, &code, true).await.unwrap();
    assert_eq!(got.events[0].body, large.encode_to_vec());
}

#[tokio::test]
async fn an_rpc_of_another_version_is_unimplemented_and_not_unknown() {
    let world = World::start().await;
    let desk = world.system("mot-cua").await;
    let status = send(&desk.channel, "/lgsp.v1.Dossiers/Frobnicate", Bytes::new()).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unimplemented);
}
