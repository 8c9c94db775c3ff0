//! Versions of the API: what a versioned path answers.

use serde_json::Value;

use super::Served;

impl Served {
    fn json(&self, path: &str) -> Value {
        let (head, body) = self.http("GET", path, "");
        assert!(head.starts_with("HTTP/1.1 200"), "{path}: {head}");
        serde_json::from_str(&body).unwrap()
    }
}

#[test]
fn a_versioned_path_answers_in_that_versions_shape() {
    let served = Served::new();
    served.http("POST", "/containers/create?name=one", r#"{"Image":"nanoserver"}"#);
    for (path, place, rung) in [
        ("/images/json", "/0/VirtualSize", 44),
        ("/images/nanoserver/json", "/VirtualSize", 44),
        ("/images/nanoserver/json", "/Container", 45),
        ("/images/nanoserver/json", "/Config/Tty", 50),
        ("/system/df", "/BuilderSize", 42),
        ("/system/df", "/Images/0/VirtualSize", 44),
        ("/info", "/BridgeNfIptables", 50),
        ("/info", "/ExecutionDriver", 25),
        ("/containers/one/json", "/HostConfig/KernelMemory", 42),
        ("/containers/one/json", "/NetworkSettings/Networks/nat/Aliases/0", 45),
    ] {
        let at = |minor: u32| served.json(&format!("/v1.{minor}{path}")).pointer(place).cloned();
        assert!(at(rung - 1).is_some(), "{place} before 1.{rung}");
        assert_eq!(at(rung), None, "{place} in 1.{rung}");
        assert_eq!(served.json(path).pointer(place), None, "{place} without a version");
    }
    for (path, place, rung) in [
        ("/networks/nat", "/EnableIPv4", 48),
        ("/networks", "/0/EnableIPv4", 48),
        ("/containers/one/json", "/NetworkSettings/Networks/nat/GwPriority", 48),
    ] {
        let at = |minor: u32| served.json(&format!("/v1.{minor}{path}")).pointer(place).cloned();
        assert!(at(rung).is_some() && at(rung - 1).is_none(), "{place} from 1.{rung} on");
    }
    let count =
        |version: &str| served.json(&format!("{version}/images/json"))[0]["Containers"].clone();
    assert_eq!([count("/v1.50"), count("/v1.51"), count("")], [-1, 1, 1].map(Value::from));
}

#[test]
fn every_version_is_served_by_every_list() {
    let served = Served::new();
    for minor in 22..=51 {
        for path in ["containers/json", "images/json", "networks", "volumes", "info", "version"] {
            served.json(&format!("/v1.{minor}/{path}"));
        }
    }
}

#[test]
fn versions_that_are_not_served_are_refused_as_they_can_read_it() {
    let served = Served::new();
    let (head, body) = served.http("GET", "/v1.21/info", "");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain"), "{head}");
    assert_eq!(
        body,
        "client version 1.21 is too old. Minimum supported API version is 1.22, please upgrade \
         your client to a newer version\n"
    );
    let (_, body) = served.http("GET", "/v1.23/containers/x/json", "");
    assert_eq!(body, "No such container: x\n");
    let (_, body) = served.http("GET", "/v1.24/containers/x/json", "");
    assert_eq!(body, "{\"message\":\"No such container: x\"}\n");
    let (head, body) = served.http("GET", "/v1.52/info", "");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    assert_eq!(
        body,
        "{\"message\":\"client version 1.52 is too new. Maximum supported API version is 1.51\"}\n"
    );
    let (head, _) = served.http("GET", "/vnone/info", "");
    assert!(head.starts_with("HTTP/1.1 404"), "{head}");
}

#[test]
fn what_a_request_may_say_depends_on_its_version() {
    let served = Served::new();
    let listed = |path: &str| served.json(path).as_array().unwrap().len();
    assert_eq!(listed("/v1.40/images/json?filter=nobody"), 0);
    assert_eq!(listed("/v1.40/images/json?filter=nanoserver"), 1);
    assert_eq!(listed("/v1.41/images/json?filter=nobody"), 1);
    let shared = |version: &str| {
        let images = served.json(&format!("/{version}/images/json?shared-size=1"));
        images[0]["SharedSize"].clone()
    };
    assert_eq!((shared("v1.41"), shared("v1.42")), (Value::from(-1), Value::from(0)));
    served.http("POST", "/containers/create?name=one", r#"{"Image":"nanoserver"}"#);
    let (head, _) = served.http("POST", "/v1.30/containers/one/wait?condition=x", "");
    assert!(head.starts_with("HTTP/1.1 400"), "{head}");
    let (head, _) = served.http("POST", "/v1.29/containers/one/wait?condition=x", "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}
