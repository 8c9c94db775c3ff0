//! The calls that BuildKit's clients make, and what answers them.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use oriel_builder::Built;
use oriel_buildkit::{
    Call, Code, Reply, Service, Status,
    message::{
        ApiCap, BridgeSolveRequest, BridgeSolveResponse, BuildHistoryRequest, BuildkitVersion,
        Definition, DiskUsageRequest, Empty, HealthResponse, InfoResponse, ListWorkersResponse,
        Platform, Pong, PruneRequest, Ref, ReturnRequest, SolveRequest, SolveResponse, SolveResult,
        StatusRequest, WorkerRecord, solve_result::Refs,
    },
};

use super::{
    jobs::{Job, Jobs, Returned},
    solve, usage,
};
use crate::daemon::{Daemon, VERSION};

/// What a call to the bridge names its build in (`client/buildid/metadata.go`).
const BUILD_ID: &str = "buildkit-controlapi-buildid";

/// Name of the one result that a run of the frontend has.
const RESULT: &str = "image";

/// What the bridge can do (`frontend/gateway/pb/caps.go`). What is not named is not there.
const BRIDGE: [&str; 7] = [
    "solve.base",
    "return",
    "returnmap",
    "proto.refarray",
    "frontend.caps",
    "gateway.solve.metadata",
    "gateway.evaluate",
];

/// Answers the calls of a connection.
pub(super) struct Control {
    pub(super) daemon: Arc<Daemon>,
}

#[async_trait]
impl Service for Control {
    async fn answer(&self, call: Call) -> Result<Reply, Status> {
        let unknown = || Status::unimplemented(format!("unknown method {}", call.method));
        let (service, method) =
            call.method.trim_start_matches('/').split_once('/').ok_or_else(unknown)?;
        match service {
            "moby.buildkit.v1.Control" => self.control(method, &call).await,
            "moby.buildkit.v1.frontend.LLBBridge" => self.bridge(method, &call).await,
            "grpc.health.v1.Health" => Ok(Reply::one(&HealthResponse { status: 1 })),
            _ => Err(unknown()),
        }
    }
}

impl Control {
    async fn control(&self, method: &str, call: &Call) -> Result<Reply, Status> {
        match method {
            "Info" => Ok(Reply::one(&InfoResponse { version: Some(version()) })),
            "ListWorkers" => Ok(Reply::one(&ListWorkersResponse { records: vec![self.worker()] })),
            "Solve" => self.solve(call.read()?).await.map(|answer| Reply::one(&answer)),
            "Status" => {
                let request: StatusRequest = call.read()?;
                self.jobs().get(&request.reference).await?.follow()
            }
            "DiskUsage" => {
                let request: DiskUsageRequest = call.read()?;
                usage::list(&self.daemon, request).await.map(|answer| Reply::one(&answer))
            }
            "Prune" => usage::prune(&self.daemon, call.read::<PruneRequest>()?).await,
            "ListenBuildHistory" => {
                call.read::<BuildHistoryRequest>()?;
                // Nothing is kept of a build that is over: an empty list, which ends at once.
                Ok(Reply::many(1).1)
            }
            _ => Err(Status::unimplemented(format!(
                "Control.{method} is not supported by this daemon"
            ))),
        }
    }

    async fn bridge(&self, method: &str, call: &Call) -> Result<Reply, Status> {
        match method {
            "Ping" => Ok(Reply::one(&self.pong())),
            "Solve" => {
                let job = self.job(call).await?;
                let answer = self.bridge_solve(&job, call.read()?).await?;
                Ok(Reply::one(&answer))
            }
            "Return" => {
                let job = self.job(call).await?;
                job.return_with(returned(&job, call.read()?));
                Ok(Reply::one(&Empty {}))
            }
            // A result is whole as soon as it has a name.
            "Evaluate" | "Warn" => Ok(Reply::one(&Empty {})),
            _ => Err(Status::unimplemented(format!(
                "LLBBridge.{method} is not supported by this daemon: it builds Dockerfiles"
            ))),
        }
    }

    fn jobs(&self) -> &Jobs {
        &self.daemon.buildkit.jobs
    }

    /// The build that a call to the bridge is about.
    async fn job(&self, call: &Call) -> Result<Arc<Job>, Status> {
        let name = call.headers.get(BUILD_ID).and_then(|name| name.to_str().ok());
        let name =
            name.ok_or_else(|| Status::invalid(format!("{BUILD_ID} has to name a build")))?;
        self.jobs().get(name).await
    }

    /// `Control.Solve`: runs a frontend, or waits until the client has.
    async fn solve(&self, request: SolveRequest) -> Result<SolveResponse, Status> {
        refuse_program(request.definition.as_ref())?;
        solve::check_exporters(&request)?;
        let (frontend, options) = (request.frontend.clone(), request.frontend_attributes.clone());
        let (held, returned) = self.jobs().enter(request)?;
        let job = &held.job;
        let built = match frontend.as_str() {
            "" => client_driven(returned).await?,
            frontend => {
                let frontend = BridgeSolveRequest {
                    frontend: frontend.to_owned(),
                    options,
                    ..BridgeSolveRequest::default()
                };
                Some(self.run(job, &frontend).await?)
            }
        };
        Ok(SolveResponse { exporter_response: solve::described(built.as_ref()) })
    }

    /// `LLBBridge.Solve`.
    async fn bridge_solve(
        &self,
        job: &Arc<Job>,
        request: BridgeSolveRequest,
    ) -> Result<BridgeSolveResponse, Status> {
        refuse_program(request.definition.as_ref())?;
        let built = self.run(job, &request).await?;
        if request.is_final {
            job.return_with(Ok(Some(built.clone())));
        }
        job.keep(RESULT.to_owned(), built)?;
        let refs = Some(Refs::One(Ref { id: RESULT.to_owned() }));
        let result = Some(SolveResult { refs, metadata: BTreeMap::new() });
        Ok(BridgeSolveResponse { result })
    }

    /// Runs a frontend for as long as somebody wants its result.
    async fn run(&self, job: &Arc<Job>, request: &BridgeSolveRequest) -> Result<Built, Status> {
        tokio::select! {
            built = solve::run(&self.daemon, job, request) => built,
            () = job.ended() => Err(Status::new(Code::Cancelled, "the build was cancelled")),
        }
    }

    fn worker(&self) -> WorkerRecord {
        let platform = Platform { os: "windows".to_owned(), architecture: "amd64".to_owned() };
        WorkerRecord {
            id: "oriel".to_owned(),
            labels: BTreeMap::new(),
            platforms: vec![platform],
            version: Some(version()),
        }
    }

    fn pong(&self) -> Pong {
        let enabled =
            |id: &&str| ApiCap { id: (*id).to_owned(), enabled: true, reason: String::new() };
        // An empty list would stand for what the first BuildKit could do.
        let program = ApiCap {
            id: "source.local".to_owned(),
            enabled: false,
            reason: NO_PROGRAMS.to_owned(),
        };
        Pong {
            frontend_caps: BRIDGE.iter().map(enabled).collect(),
            llb_caps: vec![program],
            workers: vec![self.worker()],
        }
    }
}

/// Why there is no LLB.
const NO_PROGRAMS: &str = "this daemon builds Dockerfiles and runs no programs in LLB";

fn refuse_program(definition: Option<&Definition>) -> Result<(), Status> {
    match definition {
        Some(program) if !program.operations.is_empty() => Err(Status::unimplemented(NO_PROGRAMS)),
        _ => Ok(()),
    }
}

/// What the client of a build that it drives itself makes of it.
async fn client_driven(returned: Returned) -> Result<Option<Built>, Status> {
    returned.await.unwrap_or_else(|_| Err(Status::gone("the client returned no result")))
}

/// Reads what a client returns.
fn returned(job: &Job, request: ReturnRequest) -> Result<Option<Built>, Status> {
    if let Some(error) = request.error {
        // The text has the name of its code already.
        return Err(Status::new(Code::Unknown, error.message));
    }
    let name = match request.result.and_then(|result| result.refs) {
        None => return Ok(None),
        Some(Refs::Name(name)) | Some(Refs::One(Ref { id: name })) => name,
        Some(Refs::Many(map)) => {
            map.refs.into_values().next().map(|one| one.id).unwrap_or_default()
        }
    };
    match name.as_str() {
        "" => Ok(None),
        name => job.result(name).map(Some),
    }
}

fn version() -> BuildkitVersion {
    BuildkitVersion {
        package: "oriel".to_owned(),
        version: format!("v{VERSION}"),
        revision: String::new(),
    }
}
