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

const fn row(method: &'static str, path: &'static str, tested: &'static str) -> Endpoint {
    Endpoint { method, path, tested }
}

/// All endpoints of API 1.51 but those of swarm, which are one row.
pub(crate) const ENDPOINTS: &[Endpoint] = &[
    row("HEAD", "/_ping", ""),
    row("GET", "/_ping", ""),
    row("GET", "/version", ""),
    row("GET", "/info", ""),
    row("GET", "/events", ""),
    row("GET", "/system/df", ""),
    row("POST", "/auth", "a_guarded_registry_wants_a_login"),
    row("GET", "/containers/json", ""),
    row("POST", "/containers/create", ""),
    row("POST", "/containers/prune", ""),
    row("GET", "/containers/{id}/json", ""),
    row("GET", "/containers/{id}/top", ""),
    row("GET", "/containers/{id}/logs", ""),
    row("GET", "/containers/{id}/changes", ""),
    row("GET", "/containers/{id}/export", ""),
    row("GET", "/containers/{id}/stats", ""),
    row("POST", "/containers/{id}/resize", ""),
    row("POST", "/containers/{id}/start", ""),
    row("POST", "/containers/{id}/stop", ""),
    row("POST", "/containers/{id}/restart", ""),
    row("POST", "/containers/{id}/kill", ""),
    row("POST", "/containers/{id}/update", ""),
    row("POST", "/containers/{id}/rename", ""),
    row("POST", "/containers/{id}/pause", ""),
    row("POST", "/containers/{id}/unpause", ""),
    row("POST", "/containers/{id}/attach", ""),
    row("GET", "/containers/{id}/attach/ws", ""),
    row("POST", "/containers/{id}/wait", ""),
    row("DELETE", "/containers/{id}", ""),
    row("HEAD", "/containers/{id}/archive", ""),
    row("GET", "/containers/{id}/archive", ""),
    row("PUT", "/containers/{id}/archive", ""),
    row("GET", "/containers/{id}/checkpoints", ""),
    row("POST", "/containers/{id}/checkpoints", ""),
    row("DELETE", "/containers/{id}/checkpoints/{name}", ""),
    row("POST", "/containers/{id}/exec", ""),
    row("POST", "/exec/{id}/start", ""),
    row("POST", "/exec/{id}/resize", ""),
    row("GET", "/exec/{id}/json", ""),
    row("GET", "/images/json", ""),
    row("POST", "/images/create", ""),
    row("GET", "/images/search", ""),
    row("GET", "/images/get", ""),
    row("POST", "/images/load", ""),
    row("POST", "/images/prune", ""),
    row("GET", "/images/{name*}/json", ""),
    row("GET", "/images/{name*}/history", ""),
    row("GET", "/images/{name*}/get", ""),
    row("POST", "/images/{name*}/push", ""),
    row("POST", "/images/{name*}/tag", ""),
    row("DELETE", "/images/{name*}", ""),
    row("POST", "/build", ""),
    row("POST", "/build/prune", ""),
    row("POST", "/build/cancel", ""),
    row("POST", "/session", ""),
    row("POST", "/grpc", ""),
    row("POST", "/commit", ""),
    row("GET", "/distribution/{name*}/json", "what_a_registry_has_is_not_sent_again"),
    row("GET", "/networks", ""),
    row("GET", "/networks/{id*}", ""),
    row("POST", "/networks/create", ""),
    row("POST", "/networks/prune", ""),
    row("POST", "/networks/{id}/connect", ""),
    row("POST", "/networks/{id}/disconnect", ""),
    row("DELETE", "/networks/{id*}", ""),
    row("GET", "/volumes", ""),
    row("GET", "/volumes/{name}", ""),
    row("POST", "/volumes/create", ""),
    row("POST", "/volumes/prune", ""),
    row("PUT", "/volumes/{name}", ""),
    row("DELETE", "/volumes/{name}", ""),
    row("GET", "/plugins", ""),
    row("GET", "/plugins/{name*}/json", ""),
];

/// First segments of what only a swarm answers.
const SWARM: &[&str] = &["swarm", "nodes", "services", "tasks", "secrets", "configs"];

/// What stands in the table for all of a swarm's endpoints.
pub(crate) const SWARM_ROW: &str = "swarm, nodes, services, tasks, secrets, configs";

/// The endpoint that a request is for, as the table names it; the request itself when there is none.
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
    use super::*;

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
