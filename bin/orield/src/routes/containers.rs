//! Containers.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use hyper::{Method, StatusCode};
use oriel_api::{
    Filters,
    container::{WaitError, WaitResponse},
    frame, percent_encode,
};
use oriel_engine::{Anonymous, LogOptions, LogRecord, Removal, Stream, Time, WaitFor};
use oriel_hcs::{ConsoleSize, ProcessSummary};
use oriel_image::ChangeKind;
use serde_json::json;

use super::{archive, create, exec, hijack, inspect, ps, stats, unknown, update};
use crate::http::{Answer, Call, HttpError, empty, ok, received, streamed};

/// Docker's words for what only its experimental daemon tries.
const NO_EXPERIMENTS: &str = "This experimental feature is disabled by default. Start the Docker \
                              daemon in experimental mode in order to enable it.";

pub(crate) async fn dispatch(call: Call, method: &Method, segments: &[&str]) -> Answer {
    match (method.as_str(), segments) {
        ("GET", ["json"]) => ps::list(&call).await,
        ("POST", ["create"]) => create::create(call).await,
        ("POST", ["prune"]) => prune(&call).await,
        ("GET", [id, "json"]) => {
            ok(&inspect::container(&call, &call.daemon.engine.container(id)?).await?)
        }
        (_, [_, "checkpoints", ..]) => Err(HttpError::unsupported(NO_EXPERIMENTS)),
        ("GET", [id, "logs"]) => logs(&call, id),
        ("GET", [id, "top"]) => top(&call, id).await,
        ("GET", [id, "stats"]) => stats::stats(&call, id).await,
        ("POST", [id, "update"]) => update::update(call, id).await,
        ("GET", [id, "changes"]) => changes(&call, id).await,
        ("GET", [id, "export"]) => super::archives::export(&call, id),
        ("POST", [id, "wait"]) => wait(&call, id),
        ("GET", [id, "attach", "ws"]) => hijack::attach_websocket(call, id).await,
        ("POST", [id, "attach"]) => hijack::attach(call, id).await,
        ("POST", [id, "exec"]) => exec::create(call, id).await,
        ("POST", [id, verb @ ("start" | "stop" | "restart" | "kill" | "rename")]) => {
            act(call, id, verb).await
        }
        ("POST", [id, verb @ ("resize" | "pause" | "unpause")]) => act(call, id, verb).await,
        ("DELETE", [id]) => {
            let (force, volumes) = (call.query.flag("force"), call.query.flag("v"));
            let anonymous = if volumes { Anonymous::Remove } else { Anonymous::Keep };
            call.daemon.engine.remove_with(id, Removal { force, anonymous }).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        ("HEAD" | "GET" | "PUT", [id, "archive"]) => archive::dispatch(call, method, id).await,
        _ => unknown(),
    }
}

/// Operations on one container that answer with a status alone.
async fn act(mut call: Call, id: &str, verb: &str) -> Answer {
    let daemon = call.daemon.clone();
    let engine = &daemon.engine;
    let seconds = call.query.integer("t")?;
    let signal = call.query.non_empty("signal").map(str::to_owned);
    // Before 1.42 only `kill` had one.
    let chosen = signal.as_deref().filter(|_| call.version.at_least(42));
    match verb {
        "start" => {
            // Docker's bound: `{}` and white space are no body.
            if call.bytes().await?.len() > 7 {
                return Err(HttpError::invalid(
                    "starting container with non-empty request body was deprecated since API v1.22 \
                     and removed in v1.24",
                ));
            }
            if call.query.non_empty("checkpoint").is_some() {
                return Err(HttpError::invalid(
                    "checkpoint is only supported in experimental mode",
                ));
            }
            engine.start(id).await?;
        }
        "stop" => engine.stop(id, seconds, chosen).await?,
        "restart" => engine.restart(id, seconds, chosen).await?,
        "kill" => engine.kill(id, signal.as_deref().unwrap_or_default()).await?,
        "rename" => engine.rename(id, call.query.value("name").unwrap_or_default()).await?,
        "resize" => {
            engine.resize(id, console_size(&call)?).await?;
            return Ok(empty(StatusCode::OK));
        }
        "pause" => engine.pause(id).await?,
        "unpause" => engine.unpause(id).await?,
        _ => return unknown(),
    }
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Size of a console in a query.
pub(crate) fn console_size(call: &Call) -> Result<ConsoleSize, HttpError> {
    let side = |name: &str| {
        let missing = || HttpError::invalid(format!("invalid resize {name} \"\""));
        call.query.integer(name)?.ok_or_else(missing)
    };
    Ok(ConsoleSize { height: side("h")?, width: side("w")? })
}

async fn prune(call: &Call) -> Answer {
    let known = ["label", "label!", "until"];
    let filters = Filters::parse(call.query.value("filters").unwrap_or_default(), &known)?;
    let until = super::until(call, &filters)?;
    let (removed, reclaimed) = call
        .daemon
        .engine
        .prune(|view| {
            until.is_none_or(|until| view.created < until) && filters.labels(&view.spec.run.labels)
        })
        .await?;
    let removed = (!removed.is_empty()).then_some(removed);
    ok(&json!({ "ContainersDeleted": removed, "SpaceReclaimed": reclaimed }))
}

fn wait(call: &Call, id: &str) -> Answer {
    // Before 1.30 there were no conditions.
    let condition = call.query.value("condition").filter(|_| call.version.at_least(30));
    let what = match condition.unwrap_or_default() {
        "" | "not-running" => WaitFor::NotRunning,
        "next-exit" => WaitFor::NextExit,
        "removed" => WaitFor::Removed,
        other => return Err(HttpError::invalid(format!("invalid condition: \"{other}\""))),
    };
    let ended = call.daemon.engine.wait(id, what)?;
    let body = stream::once(async move {
        let (code, error) = ended.await;
        let error = (!error.is_empty()).then_some(WaitError { message: error });
        let response = WaitResponse { status_code: i64::from(code), error };
        let mut bytes = serde_json::to_vec(&response).expect("numbers and strings");
        bytes.push(b'\n');
        Ok(Bytes::from(bytes))
    });
    Ok(streamed("application/json", body))
}

async fn top(call: &Call, id: &str) -> Answer {
    if call.query.non_empty("ps_args").is_some() {
        // 500 with Docker, although it is the client who is wrong.
        return Err(HttpError::invalid("Windows does not support arguments to top"));
    }
    let processes = call.daemon.engine.top(id).await?;
    let rows: Vec<_> = processes.iter().map(process_row).collect();
    ok(&json!({ "Titles": ["Name", "PID", "CPU", "Private Working Set"], "Processes": rows }))
}

fn process_row(process: &ProcessSummary) -> [String; 4] {
    let milliseconds = process.cpu_100ns / 10_000;
    let seconds = milliseconds / 1000;
    let time = format!(
        "{:02}:{:02}:{:02}.{:03}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        milliseconds % 1000
    );
    [process.name.clone(), process.pid.to_string(), time, human_size(process.private_bytes)]
}

/// A size as docker/go-units `HumanSize` writes it: decimal, four digits.
fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut whole, mut rest, mut unit) = (bytes, 0, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        (whole, rest, unit) = (whole / 1000, whole % 1000, unit + 1);
    }
    let digits = match whole {
        0..10 => format!("{rest:03}"),
        10..100 => format!("{:02}", rest / 10),
        _ => format!("{}", rest / 100),
    };
    let digits = digits.trim_end_matches('0');
    let point = if unit == 0 || digits.is_empty() { "" } else { "." };
    format!("{whole}{point}{}{}", if unit == 0 { "" } else { digits }, UNITS[unit])
}

async fn changes(call: &Call, id: &str) -> Answer {
    let changes = call.daemon.engine.changes(id).await?;
    if changes.is_empty() {
        return ok(&serde_json::Value::Null);
    }
    let changes: Vec<_> = changes
        .iter()
        .map(|change| {
            let kind = match change.kind {
                ChangeKind::Modified => 0,
                ChangeKind::Added => 1,
                ChangeKind::Deleted => 2,
            };
            json!({ "Path": change.path, "Kind": kind })
        })
        .collect();
    ok(&changes)
}

fn logs(call: &Call, id: &str) -> Answer {
    let query = &call.query;
    let time = |name: &str| match query.non_empty(name) {
        None | Some("0") => Ok(None),
        Some(text) => Time::parse_parameter(text)
            .map(Some)
            .ok_or_else(|| HttpError::invalid(format!("invalid value for \"{name}\": {text:?}"))),
    };
    let options = LogOptions {
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        since: time("since")?,
        until: time("until")?,
        tail: query.number("tail"),
        follow: query.flag("follow"),
    };
    if !options.stdout && !options.stderr {
        return Err(HttpError::invalid("Bad parameters: you must choose at least one stream"));
    }
    let (view, batches) = call.daemon.engine.logs(id, options)?;
    let (tty, timestamps) = (view.spec.streams.tty, query.flag("timestamps"));
    let details =
        if query.flag("details") { details(&view.log_attributes()) } else { String::new() };
    let body = received(batches).map(move |batch| Ok(render(&batch, tty, &details, timestamps)));
    let kind = hijack::stream_type(tty, call.version);
    Ok(streamed(kind, body))
}

/// What precedes each line with `details`: pairs with commas between, encoded as in a query, and a
/// space.
fn details(attributes: &BTreeMap<String, String>) -> String {
    let encode = |text: &str| percent_encode(text).replace("%20", "+");
    let pairs = attributes.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value)));
    format!("{} ", pairs.collect::<Vec<_>>().join(","))
}

/// Records of a log as a client gets them.
pub(crate) fn render(records: &[LogRecord], tty: bool, details: &str, timestamps: bool) -> Bytes {
    let mut sent = Vec::new();
    for record in records {
        let mut line = Vec::new();
        if timestamps {
            line.extend_from_slice(record.time.fixed().as_bytes());
            line.push(b' ');
        }
        line.extend_from_slice(details.as_bytes());
        line.extend_from_slice(&record.text);
        sent.extend_from_slice(&framed(record.stream, &line, tty));
    }
    sent.into()
}

/// Output as it travels: in frames, unless there is a console.
pub(crate) fn framed(stream: Stream, bytes: &[u8], tty: bool) -> Bytes {
    if tty {
        return Bytes::copy_from_slice(bytes);
    }
    let stream = match stream {
        Stream::Stdout => frame::Stream::Stdout,
        Stream::Stderr => frame::Stream::Stderr,
    };
    frame::encode(stream, bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_as_docker_writes_them() {
        for (bytes, text) in
            [(0, "0B"), (999, "999B"), (1000, "1kB"), (1_200_000, "1.2MB"), (45_678_000, "45.67MB")]
        {
            assert_eq!(human_size(bytes), text);
        }
    }

    #[test]
    fn a_process_is_a_row_of_four() {
        let process = ProcessSummary {
            name: "cmd.exe".to_owned(),
            pid: 32,
            cpu_100ns: 37_235_670_000,
            private_bytes: 1_200_000,
        };
        assert_eq!(process_row(&process), ["cmd.exe", "32", "01:02:03.567", "1.2MB"]);
    }
}
