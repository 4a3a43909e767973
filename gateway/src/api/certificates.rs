//! Certificates over the bus: renewing, whom to trust, tokens, lists and revocation. Joining has a door of its own,
//! [`super::enrolment`].

use lgsp_proto::v1;
use tonic::{Request, Response, Status};

use super::convert::certificates;
use super::wire;
use crate::engine::Engine;
use crate::engine::receipt::machine_timestamp;

pub(super) struct Certificates {
    pub(super) engine: Engine,
}

#[tonic::async_trait]
impl v1::certificates_server::Certificates for Certificates {
    async fn renew(&self, request: Request<v1::RenewRequest>) -> Result<Response<v1::RenewResponse>, Status> {
        let peer = wire::peer(&request)?;
        let chain = self.engine.renew(&peer, &request.get_ref().signing_request).await?;
        Ok(Response::new(v1::RenewResponse { certificate: Some(certificates::issued(chain)) }))
    }

    async fn trust(&self, request: Request<v1::TrustRequest>) -> Result<Response<v1::TrustResponse>, Status> {
        let peer = wire::peer(&request)?;
        let set = self.engine.trust(&peer).await?;
        Ok(Response::new(certificates::trust(set, &request.get_ref().known_sha256)))
    }

    async fn issue_token(
        &self,
        request: Request<v1::IssueTokenRequest>,
    ) -> Result<Response<v1::IssueTokenResponse>, Status> {
        let peer = wire::peer(&request)?;
        let (asking, wanted) = certificates::token_wanted(request.get_ref())?;
        let new = self.engine.issue_token(&peer, &asking.party, &asking.actor, wanted).await?;
        Ok(Response::new(certificates::new_token(&new)))
    }

    async fn withdraw_token(
        &self,
        request: Request<v1::WithdrawTokenRequest>,
    ) -> Result<Response<v1::WithdrawTokenResponse>, Status> {
        let peer = wire::peer(&request)?;
        let (asking, id) = certificates::withdrawal(request.get_ref())?;
        let (at, repeated) = self.engine.withdraw_token(&peer, &asking.party, &asking.actor, id).await?;
        Ok(Response::new(v1::WithdrawTokenResponse { withdrawn_at: Some(machine_timestamp(at)), repeated }))
    }

    async fn list(
        &self,
        request: Request<v1::ListCertificatesRequest>,
    ) -> Result<Response<v1::ListCertificatesResponse>, Status> {
        let peer = wire::peer(&request)?;
        let (asking, asked) = certificates::asked(request.get_ref())?;
        let page = self.engine.list_certificates(&peer, &asking.party, asked).await?;
        Ok(Response::new(certificates::page(page, request.get_ref())))
    }

    async fn revoke(&self, request: Request<v1::RevokeRequest>) -> Result<Response<v1::RevokeResponse>, Status> {
        let peer = wire::peer(&request)?;
        let certificates::Revocation { asking, what, ground } = certificates::revocation(request.get_ref())?;
        let despite_lockout = request.get_ref().despite_lockout;
        let revoked = self.engine.revoke(&peer, &asking.party, &asking.actor, what, ground, despite_lockout).await?;
        Ok(Response::new(certificates::revoked(&revoked)))
    }
}
