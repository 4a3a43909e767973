//! What operators do to the books.

use lgsp_proto::v1;
use tonic::{Request, Response, Status};

use super::convert::operating;
use super::wire;
use crate::engine::Engine;

pub(super) struct Operations {
    pub(super) engine: Engine,
}

#[tonic::async_trait]
impl v1::operations_server::Operations for Operations {
    async fn erase(&self, request: Request<v1::EraseRequest>) -> Result<Response<v1::EraseResponse>, Status> {
        let peer = wire::peer(&request)?;
        let operating::Erase { asking, dossier, ground } = operating::erase(request.get_ref())?;
        let erased = self.engine.erase(&peer, &asking.party, &asking.actor, &dossier, ground).await?;
        Ok(Response::new(operating::erased(&erased)))
    }
}
