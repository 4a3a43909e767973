//! The audit over the wire. It is read, and nothing else: there is no call that writes, changes or removes an entry.

use lgsp_proto::v1;
use tonic::{Request, Response, Status};

use super::convert::auditing;
use super::wire;
use crate::engine::Engine;

pub(super) struct Audit {
    pub(super) engine: Engine,
}

#[tonic::async_trait]
impl v1::audit_server::Audit for Audit {
    async fn list(&self, request: Request<v1::ListAuditRequest>) -> Result<Response<v1::ListAuditResponse>, Status> {
        let peer = wire::peer(&request)?;
        let (asking, query) = auditing::query(request.get_ref())?;
        let page = self.engine.audit(&peer, &asking.party, &query).await?;
        Ok(Response::new(auditing::page(page)))
    }
}
