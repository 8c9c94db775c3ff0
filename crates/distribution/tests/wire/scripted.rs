//! Against a server that misbehaves on demand: tokens, redirects, mirrors, limits, hostile answers.

use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use hyper::Method;
use oriel_distribution::{
    Access, Blob, Credentials, DistributionError, Registries, RegistryOptions,
};
use oriel_image::Digest;
use tokio::task::JoinSet;

use crate::support::{
    Fake, MANIFEST, Seen, ann, blob_of, body, chain, drain, manifest_of, noise, open, open_as,
    options, options_with, push, reply,
};

/// `ann:secret`, as HTTP writes it.
const ANN: &str = "Basic YW5uOnNlY3JldA==";

/// A server that gives tokens `token-0`, `token-1`, … to whoever asks.
async fn token_server() -> Fake {
    Fake::start(|before, _| {
        let token = format!(r#"{{"token":"token-{before}","expires_in":300}}"#);
        body(200, &[], token)
    })
    .await
}

/// The challenge that leads to `tokens`.
fn challenge(tokens: &Fake) -> String {
    format!(r#"Bearer realm="{}",service="test""#, tokens.url("/token"))
}

fn manifest() -> hyper::Response<http_body_util::Full<Bytes>> {
    body(200, &[("content-type", MANIFEST)], manifest_of(b"x"))
}

fn paths(fake: &Fake) -> Vec<String> {
    fake.seen().into_iter().map(|seen| seen.path).collect()
}

#[tokio::test]
async fn a_token_is_fetched_once_and_used_again() {
    let tokens = token_server().await;
    let realm = challenge(&tokens);
    let registry = Fake::start(move |_, seen| match seen.authorization() {
        "Bearer token-0" => manifest(),
        _ => reply(401, &[("www-authenticate", &realm)]),
    })
    .await;
    let registries = Registries::new(options()).unwrap();
    for _ in 0..2 {
        let reference = oriel_image::Reference::parse(&registry.image("a/b")).unwrap();
        let repository = registries.repository(&reference, &ann(), Access::Pull).await.unwrap();
        repository.manifest("1").await.unwrap();
        repository.manifest("2").await.unwrap();
    }
    let asked = tokens.seen();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].authorization(), ANN);
    assert_eq!(asked[0].path, "/token?service=test&scope=repository%3Aa%2Fb%3Apull&account=ann");
    // The password went to the token server and nowhere else.
    assert!(registry.seen().iter().all(|seen| !seen.authorization().contains("Basic")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_side_by_side_share_a_token() {
    let tokens = token_server().await;
    let realm = challenge(&tokens);
    let registry = Fake::start(move |_, seen| match seen.authorization() {
        "Bearer token-0" => manifest(),
        _ => reply(401, &[("www-authenticate", &realm)]),
    })
    .await;
    let repository = open_as(options(), &registry.image("a"), Access::Pull, &ann()).await;
    let mut tasks = JoinSet::new();
    for tag in 0..8 {
        let repository = repository.clone();
        tasks.spawn(async move { repository.manifest(&tag.to_string()).await });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(tokens.seen().len(), 1);
}

#[tokio::test]
async fn a_token_that_ran_out_in_between_is_replaced() {
    let tokens = token_server().await;
    let realm = challenge(&tokens);
    let good = AtomicUsize::new(0);
    let registry = Fake::start(move |before, seen| {
        if before == 3 {
            good.store(1, Ordering::Relaxed);
        }
        let wanted = format!("Bearer token-{}", good.load(Ordering::Relaxed));
        if seen.authorization() == wanted {
            manifest()
        } else {
            reply(401, &[("www-authenticate", &realm)])
        }
    })
    .await;
    let repository = open_as(options(), &registry.image("a"), Access::Pull, &ann()).await;
    for tag in ["1", "2", "3"] {
        repository.manifest(tag).await.unwrap();
    }
    assert_eq!(tokens.seen().len(), 2);
}

#[tokio::test]
async fn an_identity_token_is_posted_and_a_registry_token_goes_straight() {
    let tokens = token_server().await;
    let realm = challenge(&tokens);
    let registry = Fake::start(move |_, seen| match seen.authorization() {
        "Bearer token-0" | "Bearer mine" => manifest(),
        _ => reply(401, &[("www-authenticate", &realm)]),
    })
    .await;
    let identity = Credentials { identity_token: "lasting".to_owned(), ..Credentials::default() };
    let repository = open_as(options(), &registry.image("a"), Access::Push, &identity).await;
    repository.manifest("1").await.unwrap();
    let asked = &tokens.seen()[0];
    assert_eq!((&asked.method, asked.authorization()), (&Method::POST, ""));
    let form = String::from_utf8_lossy(&asked.body).into_owned();
    assert!(form.contains("scope=repository%3Aa%3Apull%2Cpush&refresh_token=lasting"), "{form}");

    let straight = Credentials { registry_token: "mine".to_owned(), ..Credentials::default() };
    let repository = open_as(options(), &registry.image("a"), Access::Pull, &straight).await;
    repository.manifest("1").await.unwrap();
    let spent = Credentials { registry_token: "spent".to_owned(), ..Credentials::default() };
    let repository = open_as(options(), &registry.image("a"), Access::Pull, &spent).await;
    assert!(repository.manifest("1").await.unwrap_err().wants_login());
    assert_eq!(tokens.seen().len(), 1);
}

#[tokio::test]
async fn a_mount_asks_for_the_right_to_read_the_other_repository() {
    let tokens = token_server().await;
    let realm = challenge(&tokens);
    let registry = Fake::start(move |_, seen| match (seen.authorization(), &seen.method) {
        ("", _) => reply(401, &[("www-authenticate", &realm)]),
        (_, &Method::POST) => reply(202, &[("location", "/v2/a/blobs/uploads/7?_state=s")]),
        _ => reply(204, &[]),
    })
    .await;
    let repository = open_as(options(), &registry.image("a"), Access::Push, &ann()).await;
    assert!(!repository.mount_blob(Digest::of(b"x"), "b/c").await.unwrap());
    let path = &tokens.seen()[0].path;
    assert!(path.contains("scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%2Fc%3Apull"));
    let last = registry.seen().pop().unwrap();
    assert_eq!((last.method, &*last.path), (Method::DELETE, "/v2/a/blobs/uploads/7?_state=s"));
}

#[tokio::test]
async fn login_returns_the_identity_token_and_repeats_what_the_token_server_says() {
    let tokens = Fake::start(|_, seen| match seen.authorization() {
        ANN => body(200, &[], r#"{"access_token":"t","refresh_token":"lasting"}"#),
        _ => body(401, &[], r#"{"details":"incorrect username or password"}"#),
    })
    .await;
    let realm = challenge(&tokens);
    let registry = Fake::start(move |_, seen| match seen.authorization() {
        "Bearer t" => reply(200, &[]),
        _ => reply(401, &[("www-authenticate", &realm)]),
    })
    .await;
    let registries = Registries::new(options()).unwrap();
    let host = registry.address.to_string();
    let login = registries.login(&host, &ann()).await.unwrap();
    assert_eq!(login.identity_token.as_deref(), Some("lasting"));
    assert!(tokens.seen()[0].path.contains("offline_token=true"));
    let wrong = Credentials { password: "wrong".to_owned(), ..ann() };
    let error = registries.login(&host, &wrong).await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: incorrect username or password");
}

#[tokio::test]
async fn refusals_are_told_in_dockers_words() {
    let refuse = |status, headers: &'static [(&'static str, &'static str)], text: &'static str| {
        Fake::start(move |_, _| body(status, headers, text))
    };
    let denied =
        r#"{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}"#;
    let said = "denied: requested access to the resource is denied";
    let scope = [("www-authenticate", r#"Bearer realm="x",error="insufficient_scope""#)];
    let scope: &'static [_] = Box::leak(Box::new(scope));
    for registry in [refuse(403, &[], denied).await, refuse(401, scope, "").await] {
        let name = registry.image("a/b");
        let pull = open(options(), &name, Access::Pull).await.manifest("1").await.unwrap_err();
        let expected = format!(
            "pull access denied for {name}, repository does not exist or may require \
             'docker login': {said}"
        );
        assert_eq!(pull.to_string(), expected);
        let push = open(options(), &name, Access::Push).await;
        let push = push.push_manifest("1", MANIFEST, manifest_of(b"x")).await.unwrap_err();
        assert_eq!(push.to_string(), said);
    }
}

#[tokio::test]
async fn credentials_do_not_follow_a_redirect_to_another_host() {
    let bytes = noise(1000);
    let served = bytes.clone();
    let storage = Fake::start(move |_, _| body(200, &[], served.clone())).await;
    let elsewhere = storage.url("/signed?key=k");
    let registry = Fake::start(move |_, seen| match seen.authorization() {
        ANN => reply(307, &[("location", &elsewhere)]),
        _ => reply(401, &[("www-authenticate", "Basic realm=x")]),
    })
    .await;
    let repository = open_as(options(), &registry.image("a"), Access::Pull, &ann()).await;
    assert_eq!(drain(repository.blob(blob_of(&bytes), 0)).await.unwrap(), bytes);
    let seen = storage.seen();
    assert_eq!((seen.len(), &*seen[0].path, seen[0].authorization()), (1, "/signed?key=k", ""));
}

#[tokio::test]
async fn a_challenge_of_another_host_gets_no_credentials() {
    let realm = token_server().await;
    let lure = challenge(&realm);
    let other = Fake::start(move |_, _| reply(401, &[("www-authenticate", "Basic realm=x")])).await;
    let elsewhere = other.url("/");
    let registry = Fake::start(move |_, _| {
        reply(307, &[("location", &elsewhere), ("www-authenticate", &lure)])
    })
    .await;
    let repository = open_as(options(), &registry.image("a"), Access::Pull, &ann()).await;
    assert!(repository.manifest("1").await.unwrap_err().wants_login());
    assert!(other.seen().iter().all(|seen| seen.authorization().is_empty()));
    assert!(realm.seen().is_empty());
}

#[tokio::test]
async fn an_upload_to_another_host_carries_no_credentials() {
    let storage = Fake::start(|_, _| reply(201, &[])).await;
    let elsewhere = storage.url("/upload?s=1");
    let registry = Fake::start(move |_, seen| match seen.authorization() {
        ANN => reply(202, &[("location", &elsewhere)]),
        _ => reply(401, &[("www-authenticate", "Basic realm=x")]),
    })
    .await;
    let repository = open_as(options(), &registry.image("a"), Access::Push, &ann()).await;
    let digest = push(&repository, &Bytes::from_static(b"abc")).await.unwrap();
    let seen = &storage.seen()[0];
    let path = format!("/upload?s=1&digest={}", digest.to_string().replace(':', "%3A"));
    assert_eq!((&*seen.path, seen.authorization(), &*seen.body), (&*path, "", &b"abc"[..]));
    assert_eq!(seen.header("content-length"), "3");
}

#[tokio::test]
async fn redirects_in_a_circle_come_to_an_end() {
    let registry = Fake::start(|_, seen| match seen.path.as_str() {
        "/v2/" => reply(200, &[]),
        path => reply(302, &[("location", path)]),
    })
    .await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    let error = repository.manifest("1").await.unwrap_err().to_string();
    assert!(error.ends_with("stopped after 10 redirects"), "{error}");
    assert_eq!(registry.seen().len(), 11);
    let registry = Fake::start(|_, seen| match seen.path.as_str() {
        "/v2/" => reply(200, &[]),
        _ => reply(302, &[("location", "file:///etc/passwd")]),
    })
    .await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    let error = repository.manifest("1").await.unwrap_err().to_string();
    assert!(error.ends_with("redirected to no web address"), "{error}");
}

#[tokio::test]
async fn a_foreign_layer_comes_from_its_urls_without_credentials() {
    let bytes = noise(5000);
    let served = bytes.clone();
    let vendor = Fake::start(move |_, seen| match seen.path.as_str() {
        "/layer" => body(200, &[], served.clone()),
        _ => body(404, &[], "this is not to be repeated"),
    })
    .await;
    let registry = Fake::start(|_, seen| match seen.authorization() {
        ANN => reply(404, &[]),
        _ => reply(401, &[("www-authenticate", "Basic realm=x")]),
    })
    .await;
    let repository = open_as(options(), &registry.image("a"), Access::Pull, &ann()).await;
    let lure = vendor.url("/layer").replace("http://", "http://ann:secret@");
    let urls = vec!["ftp://127.0.0.1/x".to_owned(), "nonsense".to_owned(), vendor.url("/no"), lure];
    let blob = Blob { urls: urls.clone(), ..blob_of(&bytes) };
    assert_eq!(drain(repository.blob(blob.clone(), 0)).await.unwrap(), bytes);
    assert!(vendor.seen().iter().all(|seen| seen.authorization().is_empty()));
    assert_eq!(paths(&vendor), ["/no", "/layer"]);

    // When nobody has it, what counts is what the registry said.
    let blob = Blob { urls: urls[..3].to_vec(), ..blob };
    let error = drain(repository.blob(blob, 0)).await.unwrap_err();
    assert!(matches!(error, DistributionError::BlobUnknown { .. }), "{error}");
}

#[tokio::test]
async fn a_busy_registry_is_asked_again() {
    let registry = Fake::start(|before, _| match before {
        0 => reply(429, &[("retry-after", "0")]),
        1 => reply(503, &[]),
        _ => manifest(),
    })
    .await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    repository.manifest("1").await.unwrap();
    assert_eq!(registry.seen().len(), 3);
}

#[tokio::test]
async fn a_registry_that_stays_busy_is_quoted() {
    let text = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"come back tomorrow"}]}"#;
    let registry = Fake::start(move |_, _| body(429, &[], text)).await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    let error = repository.manifest("1").await.unwrap_err();
    assert_eq!(error.to_string(), "toomanyrequests: come back tomorrow");
    assert_eq!(registry.seen().len(), 3);
}

#[tokio::test]
async fn refusals_are_not_repeated() {
    let registry = Fake::start(|_, _| reply(400, &[])).await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    let error = repository.manifest("1").await.unwrap_err().to_string();
    let url = registry.url("/v2/a/manifests/1");
    assert_eq!(error, format!("GET \"{url}\": unexpected status: 400 Bad Request"));
    assert_eq!(registry.seen().len(), 1);
}

/// A `certs.d` that gives `registry` the mirrors of `hosts`.
fn mirrored(registry: &Fake, hosts: &str) -> (tempfile::TempDir, RegistryOptions) {
    let certs = tempfile::tempdir().unwrap();
    let directory = certs.path().join("registry.example");
    fs_err::create_dir(&directory).unwrap();
    let server = format!("server = \"{}\"\n", registry.url(""));
    fs_err::write(directory.join("hosts.toml"), server + hosts).unwrap();
    let options = options_with(certs.path().to_owned());
    (certs, options)
}

#[tokio::test]
async fn mirrors_that_fail_give_way_to_the_registry_and_see_no_credentials() {
    let bytes = manifest_of(b"x");
    let busy = Fake::start(|_, _| reply(503, &[])).await;
    let greedy = Fake::start(|_, _| reply(401, &[("www-authenticate", "Basic realm=x")])).await;
    let lying = Fake::start(|_, _| body(200, &[("content-type", MANIFEST)], "{}")).await;
    let served = bytes.clone();
    let registry = Fake::start(move |_, seen| match seen.authorization() {
        ANN => body(200, &[("content-type", MANIFEST)], served.clone()),
        _ => reply(401, &[("www-authenticate", "Basic realm=x")]),
    })
    .await;
    let hosts: String =
        [&busy, &greedy, &lying].map(|mirror| format!("[host.\"{}\"]\n", mirror.url(""))).concat();
    let (_certs, options) = mirrored(&registry, &hosts);
    let repository = open_as(options, "registry.example/a", Access::Pull, &ann()).await;
    let digest = Digest::of(&bytes).to_string();
    assert_eq!(repository.manifest(&digest).await.unwrap().bytes, bytes);
    for mirror in [&busy, &greedy, &lying] {
        let seen = mirror.seen();
        assert_eq!((seen.len(), seen[0].authorization()), (1, ""));
        assert_eq!(seen[0].path, format!("/v2/a/manifests/{digest}?ns=registry.example"));
    }
}

#[tokio::test]
async fn a_mirror_without_the_right_to_resolve_is_asked_for_digests_only() {
    let bytes = manifest_of(b"x");
    let served = bytes.clone();
    let mirror =
        Fake::start(move |_, _| body(200, &[("content-type", MANIFEST)], served.clone())).await;
    let registry = Fake::start(|_, _| reply(404, &[])).await;
    let hosts = format!("[host.\"{}\"]\ncapabilities = [\"pull\"]\n", mirror.url("/x"));
    let (_certs, options) = mirrored(&registry, &hosts);
    let repository = open(options, "registry.example/a", Access::Pull).await;
    assert!(repository.manifest("1").await.is_err());
    repository.manifest(&Digest::of(&bytes).to_string()).await.unwrap();
    assert_eq!((mirror.seen().len(), registry.seen().len()), (1, 1));
    assert!(mirror.seen()[0].path.starts_with("/x/v2/a/manifests/sha256:"));
}

#[tokio::test]
async fn pushing_goes_to_the_registry_and_not_to_its_mirrors() {
    let mirror = Fake::start(|_, _| reply(200, &[])).await;
    let registry = Fake::start(|_, _| reply(404, &[])).await;
    let (_certs, options) = mirrored(&registry, &format!("[host.\"{}\"]\n", mirror.url("")));
    let repository = open(options, "registry.example/a", Access::Push).await;
    assert!(!repository.has_blob(Digest::of(b"x")).await.unwrap());
    assert_eq!(repository.head_manifest("1").await.unwrap(), None);
    assert!(mirror.seen().is_empty());
}

#[tokio::test]
async fn a_blob_moves_from_a_broken_mirror_to_the_registry_where_it_stopped() {
    let bytes = noise(300_000);
    let short = bytes.slice(..100_000);
    let mirror = Fake::start(move |_, _| body(200, &[], short.clone())).await;
    let rest = bytes.slice(100_000..);
    let registry = Fake::start(move |_, seen| {
        assert_eq!(seen.header("range"), "bytes=100000-");
        body(206, &[("content-range", "bytes 100000-299999/300000")], rest.clone())
    })
    .await;
    let (_certs, options) = mirrored(&registry, &format!("[host.\"{}\"]\n", mirror.url("")));
    let repository = open(options, "registry.example/a", Access::Pull).await;
    assert_eq!(drain(repository.blob(blob_of(&bytes), 0)).await.unwrap(), bytes);
}

#[tokio::test]
async fn a_registry_without_ranges_is_read_from_the_beginning() {
    let bytes = noise(300_000);
    let served = bytes.clone();
    let registry = Fake::start(move |_, _| body(200, &[], served.clone())).await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    let rest = drain(repository.blob(blob_of(&bytes), 250_000)).await.unwrap();
    assert_eq!(rest, bytes[250_000..]);
}

#[tokio::test]
async fn blobs_of_another_length_or_range_are_refused() {
    let bytes = noise(1000);
    let longer = [&bytes[..], b"x"].concat();
    let registry = Fake::start(move |_, seen| match seen.header("range") {
        "" => body(200, &[], longer.clone()),
        _ => body(206, &[("content-range", "bytes 0-999/1000")], longer.clone()),
    })
    .await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    let error = drain(repository.blob(blob_of(&bytes), 0)).await.unwrap_err().to_string();
    assert!(error.ends_with("the blob is longer than announced"), "{error}");
    let error = drain(repository.blob(blob_of(&bytes), 10)).await.unwrap_err().to_string();
    assert!(error.ends_with("sent another range than asked for"), "{error}");
}

#[tokio::test]
async fn manifests_are_bounded_and_checked() {
    let registry = Fake::start(|_, seen: &Seen| match seen.path.as_str() {
        "/v2/a/manifests/large" => body(200, &[("content-type", MANIFEST)], vec![b' '; 9 << 20]),
        "/v2/a/manifests/lie" => {
            let digest = Digest::of(b"other").to_string();
            let headers = [("content-type", MANIFEST), ("docker-content-digest", &digest)];
            body(200, &headers, "{}")
        }
        _ => body(200, &[("content-type", MANIFEST)], "{}"),
    })
    .await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    let error = repository.manifest("large").await.unwrap_err();
    assert!(matches!(error, DistributionError::Limit { .. }), "{error}");
    let digest = Digest::of(b"x").to_string();
    for what in ["lie", &digest] {
        let error = repository.manifest(what).await.unwrap_err();
        assert!(matches!(error, DistributionError::DigestMismatch { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_error_of_any_length_is_cut() {
    let registry = Fake::start(|_, _| body(400, &[], vec![b'x'; 50 << 20])).await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    let error = repository.manifest("1").await.unwrap_err();
    assert!(chain(&error).len() < 300, "{}", chain(&error));
}

#[tokio::test]
async fn a_head_that_tells_too_little_is_followed_by_a_look() {
    let bytes = manifest_of(b"x");
    let served = bytes.clone();
    let registry = Fake::start(move |_, seen| match seen.method {
        Method::HEAD => reply(200, &[]),
        _ => body(200, &[("content-type", MANIFEST)], served.clone()),
    })
    .await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    let head = repository.head_manifest("1").await.unwrap().unwrap();
    assert_eq!((head.digest, &*head.media_type), (Digest::of(&bytes), MANIFEST));
}

#[tokio::test]
async fn tags_are_read_page_by_page_on_the_same_host() {
    let other = Fake::start(|_, _| body(200, &[], r#"{"tags":["stolen"]}"#)).await;
    let elsewhere = format!("<{}>; rel=\"next\"", other.url("/v2/a/tags/list"));
    let registry = Fake::start(move |_, seen| match seen.path.as_str() {
        "/v2/a/tags/list?n=1000" => {
            let link = r#"</v2/a/tags/list?n=1000&last=b>; rel="next""#;
            body(200, &[("link", link)], r#"{"name":"a","tags":["b","a"]}"#)
        }
        _ => body(200, &[("link", &elsewhere)], r#"{"name":"a","tags":["c"]}"#),
    })
    .await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    assert_eq!(repository.tags().await.unwrap(), ["a", "b", "c"]);
    assert!(other.seen().is_empty());
}

#[tokio::test]
async fn nobody_there_is_an_error_with_its_cause() {
    let repository = {
        let gone = Fake::start(|_, _| reply(200, &[])).await;
        open(options(), &gone.image("a"), Access::Pull).await
    };
    let error = repository.manifest("1").await.unwrap_err();
    assert!(matches!(error, DistributionError::Unreachable { .. }), "{error}");
    assert!(chain(&error).contains("refused"), "{}", chain(&error));
}

#[tokio::test]
async fn a_transfer_that_is_dropped_leaves_the_repository_usable() {
    let bytes = noise(3_000_000);
    let served = bytes.clone();
    let registry = Fake::start(move |_, _| body(200, &[], served.clone())).await;
    let repository = open(options(), &registry.image("a"), Access::Pull).await;
    let mut stream = repository.blob(blob_of(&bytes), 0);
    assert!(stream.chunk().await.unwrap().is_some());
    drop(stream);
    assert_eq!(drain(repository.blob(blob_of(&bytes), 0)).await.unwrap(), bytes);
}
