//! Against Debian's `docker-registry`, the reference implementation, on loopback.

use std::{
    io::{Cursor, Error},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use oriel_distribution::{Access, Credentials, DistributionError, Proxy, Registries};
use oriel_image::Digest;
use tokio::task::JoinSet;

use crate::support::{
    Authority, ConnectProxy, CutProxy, Direction, MANIFEST, RealRegistry, ann, blob_of, chain,
    drain, manifest_of, noise, open, open_as, options, options_with, push,
};

#[tokio::test]
async fn what_is_pushed_is_pulled() {
    let Some(registry) = RealRegistry::plain() else { return };
    let repository = open(options(), &registry.image("a/b"), Access::Push).await;
    let bytes = noise(3_000_000);
    assert!(!repository.has_blob(Digest::of(&bytes)).await.unwrap());
    assert_eq!(repository.head_manifest("1").await.unwrap(), None);
    let digest = push(&repository, &bytes).await.unwrap();
    assert!(repository.has_blob(digest).await.unwrap());
    let manifest = manifest_of(&bytes);
    let named = repository.push_manifest("1", MANIFEST, manifest.clone()).await.unwrap();
    repository.push_manifest("latest", MANIFEST, manifest.clone()).await.unwrap();

    let repository = open(options(), &registry.image("a/b"), Access::Pull).await;
    for what in ["1", "latest", &named.to_string()] {
        let fetched = repository.manifest(what).await.unwrap();
        assert_eq!((fetched.digest, &*fetched.media_type), (named, MANIFEST));
        assert_eq!(fetched.bytes, manifest);
    }
    let head = repository.head_manifest("1").await.unwrap().unwrap();
    assert_eq!((head.digest, head.size), (named, u64::try_from(manifest.len()).unwrap()));
    assert_eq!(repository.tags().await.unwrap(), ["1", "latest"]);
    assert_eq!(drain(repository.blob(blob_of(&bytes), 0)).await.unwrap(), bytes);
    let rest = drain(repository.blob(blob_of(&bytes), 2_999_000)).await.unwrap();
    assert_eq!(rest, bytes[2_999_000..]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn layers_travel_side_by_side() {
    let Some(registry) = RealRegistry::plain() else { return };
    let repository = open(options(), &registry.image("a"), Access::Push).await;
    let bytes = noise(2_000_000);
    let mut tasks = JoinSet::new();
    for layer in 0..5 {
        let (repository, bytes) = (repository.clone(), bytes.slice(layer..));
        tasks.spawn(async move {
            push(&repository, &bytes).await.unwrap();
            drain(repository.blob(blob_of(&bytes), 0)).await.unwrap() == bytes
        });
    }
    while let Some(same) = tasks.join_next().await {
        assert!(same.unwrap());
    }
}

#[tokio::test]
async fn an_empty_blob_is_a_blob() {
    let Some(registry) = RealRegistry::plain() else { return };
    let repository = open(options(), &registry.image("a"), Access::Push).await;
    let digest = push(&repository, &noise(0)).await.unwrap();
    assert!(repository.has_blob(digest).await.unwrap());
    assert_eq!(drain(repository.blob(blob_of(b""), 0)).await.unwrap(), b"");
}

#[tokio::test]
async fn what_is_absent_is_named_in_dockers_words() {
    let Some(registry) = RealRegistry::plain() else { return };
    let name = registry.image("a/b");
    let repository = open(options(), &name, Access::Pull).await;
    let error = repository.manifest("1").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("manifest for {name}:1 not found: manifest unknown: manifest unknown")
    );
    let error = drain(repository.blob(blob_of(b"x"), 0)).await.unwrap_err();
    assert!(matches!(error, DistributionError::BlobUnknown { .. }), "{error}");
    let error = repository.tags().await.unwrap_err().to_string();
    let said = "not found: name unknown: repository name not known to registry";
    assert_eq!(error, format!("repository {name} {said}"));
    for what in ["", "../x", "sha256:12", "a b"] {
        let error = repository.manifest(what).await.unwrap_err();
        assert!(matches!(error, DistributionError::InvalidTag { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let Some(registry) = RealRegistry::plain() else { return };
    let bytes = noise(10_000);
    let from = open(options(), &registry.image("a/from"), Access::Push).await;
    let digest = push(&from, &bytes).await.unwrap();
    let to = open(options(), &registry.image("a/to"), Access::Push).await;
    assert!(!to.mount_blob(digest, "a/nowhere").await.unwrap());
    assert!(!to.has_blob(digest).await.unwrap());
    assert!(to.mount_blob(digest, "a/from").await.unwrap());
    assert!(to.has_blob(digest).await.unwrap());
}

#[tokio::test]
async fn a_blob_with_another_digest_is_refused() {
    let Some(registry) = RealRegistry::plain() else { return };
    let repository = open(options(), &registry.image("a"), Access::Push).await;
    let open = || Ok(Cursor::new(b"abc"));
    let error = repository.push_blob(Digest::of(b"xyz"), 3, open, |_| ()).await.unwrap_err();
    assert!(error.to_string().contains("digest invalid: "), "{error}");
}

#[tokio::test]
async fn a_file_that_fails_is_told_from_a_registry_that_does() {
    let Some(registry) = RealRegistry::plain() else { return };
    let repository = open(options(), &registry.image("a"), Access::Push).await;
    let short = || Ok(Cursor::new(b"abc"));
    let error = repository.push_blob(Digest::of(b"abcd"), 4, short, |_| ()).await.unwrap_err();
    assert!(chain(&error).ends_with(": the blob is cut short"), "{}", chain(&error));
    let absent = || Err::<Cursor<Vec<u8>>, _>(Error::other("it is gone"));
    let error = repository.push_blob(Digest::of(b"abc"), 3, absent, |_| ()).await.unwrap_err();
    assert!(chain(&error).ends_with(": it is gone"), "{}", chain(&error));
}

#[tokio::test]
async fn a_download_goes_on_where_the_connection_broke() {
    let Some(registry) = RealRegistry::plain() else { return };
    let bytes = noise(4_000_000);
    let direct = open(options(), &registry.image("a"), Access::Push).await;
    push(&direct, &bytes).await.unwrap();
    let limits = [1_000_000, 700_000, 1_500_000];
    let proxy = CutProxy::start(registry.address, Direction::ToClient, &limits).await;
    let repository = open(options(), &format!("{}/a", proxy.address), Access::Pull).await;
    let got = drain(repository.blob(blob_of(&bytes), 5)).await.unwrap();
    assert_eq!(got, bytes[5..]);
    assert_eq!(proxy.left(), 0);
}

#[tokio::test]
async fn a_line_that_always_breaks_is_given_up() {
    let Some(registry) = RealRegistry::plain() else { return };
    let bytes = noise(4_000_000);
    let direct = open(options(), &registry.image("a"), Access::Push).await;
    push(&direct, &bytes).await.unwrap();
    let proxy = CutProxy::start(registry.address, Direction::ToClient, &[100_000; 50]).await;
    let repository = open(options(), &format!("{}/a", proxy.address), Access::Pull).await;
    let mut stream = repository.blob(blob_of(&bytes), 0);
    let error = loop {
        match stream.chunk().await {
            Ok(piece) => assert!(piece.is_some()),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, DistributionError::Unreachable { .. }), "{error}");
    assert!(stream.position() < 1_000_000 && proxy.left() == 47, "{}", proxy.left());
}

#[tokio::test]
async fn an_upload_begins_again_when_the_connection_broke() {
    let Some(registry) = RealRegistry::plain() else { return };
    let bytes = noise(4_000_000);
    let proxy = CutProxy::start(registry.address, Direction::ToServer, &[1_000_000; 2]).await;
    let repository = open(options(), &format!("{}/a", proxy.address), Access::Push).await;
    let highest = Arc::new(AtomicU64::new(0));
    let progress = {
        let highest = Arc::clone(&highest);
        move |sent| {
            highest.fetch_max(sent, Ordering::Relaxed);
        }
    };
    let open = || Ok(Cursor::new(bytes.clone()));
    let digest = Digest::of(&bytes);
    repository.push_blob(digest, 4_000_000, open, progress).await.unwrap();
    assert_eq!((proxy.left(), highest.load(Ordering::Relaxed)), (0, 4_000_000));
    assert!(repository.has_blob(digest).await.unwrap());
}

/// A `certs.d` with `ca` for `registry.example`, in Docker's layout.
fn certs_for_example(ca: &Authority) -> tempfile::TempDir {
    let certs = tempfile::tempdir().unwrap();
    let directory = certs.path().join("registry.example");
    fs_err::create_dir(&directory).unwrap();
    fs_err::write(directory.join("ca.crt"), ca.certificate()).unwrap();
    certs
}

#[tokio::test]
async fn a_private_authority_is_trusted_when_certs_d_says_so_also_behind_a_proxy() {
    let (ours, other) = (Authority::new(), Authority::new());
    let issued = ours.issue("DNS:registry.example");
    let Some(registry) = RealRegistry::tls(&issued, None) else { return };
    let way = ConnectProxy::start(registry.address).await;
    let proxy = || Proxy { https: Some(format!("http://{}", way.address)), ..Proxy::default() };

    let certs = certs_for_example(&ours);
    let mut trusting = options_with(certs.path().to_owned());
    trusting.proxy = proxy();
    let repository = open(trusting, "registry.example/a", Access::Push).await;
    push(&repository, &noise(1000)).await.unwrap();
    assert!(way.asked()[0].starts_with("CONNECT registry.example:443 "), "{:?}", way.asked());

    let certs = certs_for_example(&other);
    let mut distrusting = options_with(certs.path().to_owned());
    distrusting.proxy = proxy();
    let repository = open(distrusting, "registry.example/a", Access::Pull).await;
    let error = repository.tags().await.unwrap_err();
    let text = chain(&error);
    assert!(text.starts_with("GET \"https://registry.example/v2/a/tags/list\""), "{text}");
    assert!(text.contains("invalid peer certificate"), "{text}");
}

#[tokio::test]
async fn a_registry_without_tls_is_refused_unless_it_is_insecure() {
    let Some(registry) = RealRegistry::plain() else { return };
    let way = ConnectProxy::start(registry.address).await;
    // An authority of the test's own, so that a machine without any can run it.
    let certs = certs_for_example(&Authority::new());
    let mut secure = options_with(certs.path().to_owned());
    secure.proxy.https = Some(format!("http://{}", way.address));
    let repository = open(secure, "registry.example/a", Access::Pull).await;
    let error = repository.manifest("1").await.unwrap_err().to_string();
    let url = "https://registry.example/v2/a/manifests/1";
    let text = "http: server gave HTTP response to HTTPS client";
    assert_eq!(error, format!("GET \"{url}\": {text}"));
}

#[tokio::test]
async fn passwords_open_a_registry_and_are_checked_at_login() {
    let issued = Authority::new().issue("IP:127.0.0.1");
    let Some(registry) = RealRegistry::tls_with_password(&issued) else { return };
    let name = registry.image("a");
    let anonymous = open(options(), &name, Access::Pull).await;
    let error = anonymous.manifest("1").await.unwrap_err();
    assert_eq!(error.to_string(), "no basic auth credentials");
    assert!(error.wants_login());

    let wrong = Credentials { password: "wrong".to_owned(), ..ann() };
    let error = open_as(options(), &name, Access::Push, &wrong).await.tags().await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: authentication required");
    let repository = open_as(options(), &name, Access::Push, &ann()).await;
    push(&repository, &noise(1000)).await.unwrap();

    let registries = Registries::new(options()).unwrap();
    let host = registry.address.to_string();
    let login = registries.login(&host, &ann()).await.unwrap();
    assert_eq!(login.identity_token, None);
    let error = registries.login(&host, &wrong).await.unwrap_err();
    let text = format!("login attempt to https://{host}/v2/ failed with status: 401 Unauthorized");
    assert_eq!(error.to_string(), text);
    assert!(error.wants_login());
}

#[tokio::test]
async fn hosts_toml_says_where_a_registry_is_and_who_we_are_to_it() {
    let authority = Authority::new();
    let issued = authority.issue("IP:127.0.0.1");
    let Some(registry) = RealRegistry::tls(&issued, Some(&authority)) else { return };
    let certs = tempfile::tempdir().unwrap();
    let directory = certs.path().join("registry.example");
    fs_err::create_dir(&directory).unwrap();
    fs_err::write(directory.join("ca.pem"), authority.certificate()).unwrap();
    authority.issue("DNS:client").write(&directory, "me");
    let server = format!("server = \"https://{}\"\nca = \"ca.pem\"\n", registry.address);
    let client = "client = [[\"me.cert\", \"me.key\"]]\n";
    let hosts = directory.join("hosts.toml");

    fs_err::write(&hosts, &server).unwrap();
    let stranger = options_with(certs.path().to_owned());
    let repository = open(stranger, "registry.example/a", Access::Push).await;
    assert!(push(&repository, &noise(1000)).await.is_err());

    fs_err::write(&hosts, server + client).unwrap();
    let known = options_with(certs.path().to_owned());
    let repository = open(known, "registry.example/a", Access::Push).await;
    push(&repository, &noise(1000)).await.unwrap();
}

#[tokio::test]
async fn a_mirror_of_the_hub_is_asked_in_its_place() {
    let Some(registry) = RealRegistry::plain() else { return };
    let bytes = noise(5000);
    let repository = open(options(), &registry.image("library/x"), Access::Push).await;
    push(&repository, &bytes).await.unwrap();
    repository.push_manifest("1", MANIFEST, manifest_of(&bytes)).await.unwrap();
    let mut mirrored = options();
    mirrored.mirrors = vec![format!("http://{}", registry.address)];
    let repository = open_as(mirrored, "x", Access::Pull, &ann()).await;
    assert_eq!(repository.manifest("1").await.unwrap().bytes, manifest_of(&bytes));
    assert_eq!(drain(repository.blob(blob_of(&bytes), 0)).await.unwrap(), bytes);
}
