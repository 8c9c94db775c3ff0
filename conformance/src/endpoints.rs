//! The endpoints of the Engine API, as the compatibility table lists them.

/// An endpoint and, for when no client calls it, where it is tested.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Method.
    pub(crate) method: &'static str,
    /// Path; `{…}` stands for one segment, `{…*}` for one or more.
    pub(crate) path: &'static str,
    /// The test of what no client calls.
    pub(crate) tested: &'static str,
}

/// The test that asks every endpoint once for what it can answer.
const EACH: &str = "every_endpoint_takes_its_example";

const fn row(method: &'static str, path: &'static str, tested: &'static str) -> Endpoint {
    Endpoint { method, path, tested }
}

/// All endpoints of API 1.51 but those of swarm, which are one row.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    row("HEAD", "/_ping", EACH),
    row("GET", "/_ping", EACH),
    row("GET", "/version", EACH),
    row("GET", "/info", EACH),
    row("GET", "/events", EACH),
    row("GET", "/system/df", EACH),
    row("POST", "/auth", "a_guarded_registry_wants_a_login"),
    row("GET", "/containers/json", EACH),
    row("POST", "/containers/create", EACH),
    row("POST", "/containers/prune", EACH),
    row("GET", "/containers/{id}/json", EACH),
    row("GET", "/containers/{id}/top", EACH),
    row("GET", "/containers/{id}/logs", EACH),
    row("GET", "/containers/{id}/changes", EACH),
    row("GET", "/containers/{id}/export", EACH),
    row("GET", "/containers/{id}/stats", EACH),
    row("POST", "/containers/{id}/resize", EACH),
    row("POST", "/containers/{id}/start", EACH),
    row("POST", "/containers/{id}/stop", EACH),
    row("POST", "/containers/{id}/restart", EACH),
    row("POST", "/containers/{id}/kill", EACH),
    row("POST", "/containers/{id}/update", EACH),
    row("POST", "/containers/{id}/rename", EACH),
    row("POST", "/containers/{id}/pause", EACH),
    row("POST", "/containers/{id}/unpause", EACH),
    row("POST", "/containers/{id}/attach", EACH),
    row("GET", "/containers/{id}/attach/ws", "a_browser_attaches_by_websocket"),
    row("POST", "/containers/{id}/wait", EACH),
    row("DELETE", "/containers/{id}", EACH),
    row("HEAD", "/containers/{id}/archive", EACH),
    row("GET", "/containers/{id}/archive", EACH),
    row("PUT", "/containers/{id}/archive", EACH),
    row("GET", "/containers/{id}/checkpoints", EACH),
    row("POST", "/containers/{id}/checkpoints", EACH),
    row("DELETE", "/containers/{id}/checkpoints/{name}", EACH),
    row("POST", "/containers/{id}/exec", EACH),
    row("POST", "/exec/{id}/start", EACH),
    row("POST", "/exec/{id}/resize", EACH),
    row("GET", "/exec/{id}/json", EACH),
    row("GET", "/images/json", EACH),
    row("POST", "/images/create", "an_image_built_here_is_pushed_pulled_elsewhere_and_run"),
    row("GET", "/images/search", "an_index_is_searched"),
    row("GET", "/images/get", EACH),
    row("POST", "/images/load", EACH),
    row("POST", "/images/prune", EACH),
    row("GET", "/images/{name*}/json", EACH),
    row("GET", "/images/{name*}/history", EACH),
    row("GET", "/images/{name*}/get", EACH),
    row("POST", "/images/{name*}/push", "an_image_built_here_is_pushed_pulled_elsewhere_and_run"),
    row("POST", "/images/{name*}/tag", EACH),
    row("DELETE", "/images/{name*}", EACH),
    row("POST", "/build", EACH),
    row("POST", "/build/prune", EACH),
    row("POST", "/build/cancel", EACH),
    row("POST", "/session", EACH),
    row("POST", "/grpc", EACH),
    row("POST", "/commit", EACH),
    row("GET", "/distribution/{name*}/json", "what_a_registry_has_is_not_sent_again"),
    row("GET", "/networks", EACH),
    row("GET", "/networks/{id*}", EACH),
    row("POST", "/networks/create", EACH),
    row("POST", "/networks/prune", EACH),
    row("POST", "/networks/{id}/connect", EACH),
    row("POST", "/networks/{id}/disconnect", EACH),
    row("DELETE", "/networks/{id*}", EACH),
    row("GET", "/volumes", EACH),
    row("GET", "/volumes/{name}", EACH),
    row("POST", "/volumes/create", EACH),
    row("POST", "/volumes/prune", EACH),
    row("PUT", "/volumes/{name}", EACH),
    row("DELETE", "/volumes/{name}", EACH),
    row("GET", "/plugins", EACH),
    row("GET", "/plugins/{name*}/json", EACH),
];

/// First segments of what only a swarm answers.
const SWARM: &[&str] = &["swarm", "nodes", "services", "tasks", "secrets", "configs"];

/// What stands in the table for all of a swarm's endpoints.
pub(crate) const SWARM_ROW: &str = "swarm, nodes, services, tasks, secrets, configs";

/// The endpoint that a request is for, as the table names it; without one the request itself.
pub(crate) fn name(method: &str, path: &str) -> String {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    if segments.first().is_some_and(|first| SWARM.contains(first)) {
        return SWARM_ROW.to_owned();
    }
    let found = ENDPOINTS.iter().find(|endpoint| {
        let pattern: Vec<&str> = endpoint.path.split('/').skip(1).collect();
        endpoint.method == method && matches(&pattern, &segments)
    });
    found.map_or_else(|| format!("{method} {path}"), Endpoint::name)
}

impl Endpoint {
    /// Method and path.
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path.replace("*}", "}"))
    }
}

fn matches(pattern: &[&str], segments: &[&str]) -> bool {
    match (pattern, segments) {
        ([], []) => true,
        ([first, pattern @ ..], [_, segments @ ..]) if first.ends_with("*}") => {
            // It takes one segment, or more.
            let starts = 0..=segments.len();
            starts.into_iter().any(|taken| matches(pattern, &segments[taken..]))
        }
        ([first, pattern @ ..], [segment, segments @ ..]) => {
            (first == segment || first.starts_with('{')) && matches(pattern, segments)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn tests_that_are_named_exist() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let sources = ["tests/e2e", "../bin/orield/src/tests"].map(|folder| {
            let files = fs_err::read_dir(root.join(folder)).unwrap();
            let text = |file: fs_err::DirEntry| fs_err::read(file.path()).unwrap_or_default();
            files.flat_map(|file| text(file.unwrap())).collect::<Vec<u8>>()
        });
        let sources = String::from_utf8_lossy(&sources.concat()).into_owned();
        for endpoint in ENDPOINTS {
            let [case, test] =
                [format!("\"{}\"", endpoint.tested), format!("fn {}()", endpoint.tested)];
            assert!(sources.contains(&case) || sources.contains(&test), "{}", endpoint.tested);
        }
    }

    #[test]
    fn requests_find_their_endpoints() {
        let table = [
            ("GET", "/containers/json", "GET /containers/json"),
            ("GET", "/containers/web/json", "GET /containers/{id}/json"),
            ("GET", "/images/host:5000/a/b/json", "GET /images/{name}/json"),
            ("DELETE", "/images/json", "DELETE /images/{name}"),
            ("GET", "/networks/", "GET /networks"),
            ("GET", "/networks/a", "GET /networks/{id}"),
            ("GET", "/services", SWARM_ROW),
            ("GET", "/no/such/thing", "GET /no/such/thing"),
        ];
        for (method, path, expected) in table {
            assert_eq!(name(method, path), expected);
        }
    }
}
