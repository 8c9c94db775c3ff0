//! Execs.

use hyper::{Method, StatusCode};
use oriel_api::exec::{CreateRequest, Inspect, ProcessConfig, StartRequest};
use oriel_engine::{ExecSpec, ExecState};
use oriel_hcs::ConsoleSize;
use serde_json::json;

use super::{containers::console_size, hijack, unknown};
use crate::http::{Answer, Call, HttpError, empty, json as answer, ok};

pub(crate) async fn dispatch(
    mut call: Call,
    method: &Method,
    id: &str,
    segments: &[&str],
) -> Answer {
    match (method.as_str(), segments) {
        ("GET", ["json"]) => inspect(&call, id),
        ("POST", ["start"]) => {
            let request: StartRequest = call.json().await?;
            start(call, id, request).await
        }
        ("POST", ["resize"]) => {
            let size = console_size(&call)?;
            call.daemon.engine.exec_resize(id, size).await?;
            Ok(empty(StatusCode::OK))
        }
        _ => unknown(),
    }
}

pub(crate) async fn create(mut call: Call, container: &str) -> Answer {
    let request: CreateRequest = call.json().await?;
    if request.privileged == Some(true) {
        return Err(HttpError::invalid(
            "invalid option: privileged mode is not supported for Windows containers",
        ));
    }
    let spec = ExecSpec {
        command: request.cmd.unwrap_or_default(),
        environment: request.env.unwrap_or_default(),
        working_directory: request.working_dir.unwrap_or_default(),
        user: request.user.unwrap_or_default(),
        tty: request.tty.unwrap_or_default(),
        stdin: request.attach_stdin.unwrap_or_default(),
        stdout: request.attach_stdout.unwrap_or_default(),
        stderr: request.attach_stderr.unwrap_or_default(),
        console: size(request.console_size),
        detach_keys: request.detach_keys.unwrap_or_default(),
    };
    let id = call.daemon.engine.exec_create(container, spec)?;
    Ok(answer(StatusCode::CREATED, &json!({ "Id": id })))
}

/// A size of a console; that of a client without one is zero.
pub(crate) fn size(size: Option<[u16; 2]>) -> Option<ConsoleSize> {
    let [height, width] = size?;
    (height > 0 && width > 0).then_some(ConsoleSize { height, width })
}

async fn start(call: Call, id: &str, request: StartRequest) -> Answer {
    let exec = call.daemon.engine.exec(id)?;
    let container = call.daemon.engine.container(&exec.container)?;
    if !container.state.is_running() {
        return Err(oriel_engine::EngineError::NotRunning { id: exec.container }.into());
    }
    if container.state.is_paused() {
        return Err(oriel_engine::EngineError::ExecPaused { reference: exec.container }.into());
    }
    if exec.state != ExecState::Created {
        return Err(oriel_engine::EngineError::ExecStarted { id: exec.id }.into());
    }
    let console = size(request.console_size);
    if request.detach == Some(true) {
        call.daemon.engine.exec_start(id, console).await?;
        return Ok(empty(StatusCode::OK));
    }
    hijack::exec(call, exec, console)
}

fn inspect(call: &Call, id: &str) -> Answer {
    let exec = call.daemon.engine.exec(id)?;
    let (pid, exit_code) = match exec.state {
        ExecState::Created | ExecState::Starting => (0, None),
        ExecState::Running(pid) => (pid, None),
        ExecState::Exited(code) => (0, Some(i64::from(code))),
    };
    let mut words = exec.spec.command.into_iter();
    ok(&Inspect {
        id: exec.id,
        running: matches!(exec.state, ExecState::Running(_)),
        exit_code,
        process_config: ProcessConfig {
            tty: exec.spec.tty,
            entrypoint: words.next().unwrap_or_default(),
            arguments: words.collect(),
            user: exec.spec.user,
        },
        open_stdin: exec.spec.stdin,
        open_stderr: exec.spec.stderr,
        open_stdout: exec.spec.stdout,
        can_remove: false,
        container_id: exec.container,
        detach_keys: String::new(),
        pid,
    })
}
