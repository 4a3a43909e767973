//! Exchange: submitting, recording, reading. Each handler converts, calls the engine, and converts back.

use lgsp_proto::v1;
use tonic::{Request, Response, Status};

use super::convert::{entry, reading, standing, submission};
use super::{MESSAGE_BYTES_MAX, wire};
use crate::engine::Engine;

/// What an answer may hold besides events: the dossier with its documents.
const ROOM_FOR_DOSSIER: usize = 64 * 1024;

pub(super) struct Dossiers {
    pub(super) engine: Engine,
}

#[tonic::async_trait]
impl v1::dossiers_server::Dossiers for Dossiers {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let (peer, trace) = (wire::peer(&request)?, wire::traceparent(&request));
        let signed = submission::signed(request.into_inner(), trace)?;
        let admitted = self.engine.submit(peer, signed).await?;
        Ok(Response::new(submission::response(admitted)))
    }

    async fn record(&self, request: Request<v1::RecordRequest>) -> Result<Response<v1::RecordResponse>, Status> {
        let (peer, trace) = (wire::peer(&request)?, wire::traceparent(&request));
        let signed = entry::signed(request.into_inner(), trace)?;
        let admitted = self.engine.record(peer, signed).await?;
        Ok(Response::new(entry::response(admitted)))
    }

    async fn get(&self, request: Request<v1::GetRequest>) -> Result<Response<v1::GetResponse>, Status> {
        let peer = wire::peer(&request)?;
        let reading::Get { asking, dossier, bodies, after } = reading::get(request.get_ref())?;
        let view = self.engine.view(&peer, &asking.party, &dossier, after, bodies).await?;
        Ok(Response::new(v1::GetResponse {
            dossier: Some(standing::dossier(&view.dossier, self.engine.clock().now())),
            events: standing::events_within(view.events, MESSAGE_BYTES_MAX - ROOM_FOR_DOSSIER),
        }))
    }

    async fn list(&self, request: Request<v1::ListRequest>) -> Result<Response<v1::ListResponse>, Status> {
        let peer = wire::peer(&request)?;
        let request = request.into_inner();
        let now = self.engine.clock().now();
        let (asking, mut query) = reading::list(&request)?;
        query.only_late_at = request.filter.as_ref().is_some_and(|filter| filter.only_late).then_some(now);
        let page = self.engine.list(&peer, &asking.party, query).await?;
        let dossiers = page.dossiers.iter().map(|dossier| standing::dossier(dossier, now));
        Ok(Response::new(reading::list_response(&request, &asking.party, dossiers, page.next.as_ref())))
    }

    async fn explain_route(
        &self,
        request: Request<v1::ExplainRouteRequest>,
    ) -> Result<Response<v1::ExplainRouteResponse>, Status> {
        let peer = wire::peer(&request)?;
        let (asking, matter) = reading::matter(request.get_ref())?;
        let (explanation, version) = self.engine.explain_route(&peer, &asking.party, &matter)?;
        Ok(Response::new(standing::route(explanation, version, self.engine.registry()?.as_ref())))
    }
}
