//! Numbers leased ahead, over the wire.

use lgsp_proto::v1;
use tonic::{Request, Response, Status};

use super::convert::numbers;
use super::wire;
use crate::engine::Engine;

pub(super) struct Numbers {
    pub(super) engine: Engine,
}

#[tonic::async_trait]
impl v1::numbers_server::Numbers for Numbers {
    async fn lease(
        &self,
        request: Request<v1::LeaseNumbersRequest>,
    ) -> Result<Response<v1::LeaseNumbersResponse>, Status> {
        let peer = wire::peer(&request)?;
        let lease = numbers::lease(request.get_ref())?;
        let holding = self.engine.lease_numbers(peer, lease).await?;
        Ok(Response::new(numbers::response(&holding)))
    }
}
