//! How registries are reached: what the flags and the file say of it.

use std::path::PathBuf;

use oriel_distribution::{Proxy, RegistryOptions};
use serde::Deserialize;

use super::{Arguments, directives::Directives};

const DEFAULT_CERTS_DIRS: [&str; 2] = ["/etc/oriel/certs.d", "/etc/docker/certs.d"];

/// Layers of one image that are moved at once when the option says 0: as many as it has.
const ALL_AT_ONCE: u32 = 1024;

/// Most attempts at one transfer; each waits longer than the one before.
const MOST_ATTEMPTS: u32 = 100;

/// `proxies` of the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Proxies {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Option<String>,
}

/// Takes what concerns registries.
pub(super) fn registries(directives: &mut Directives, arguments: &Arguments) -> RegistryOptions {
    let defaults = RegistryOptions::default();
    let certs_dir = directives.text("certs-dir", arguments.certs_dir.as_ref());
    let mut layers =
        |name: &str, flag, default: usize| match directives.number(name, flag, 0..=ALL_AT_ONCE) {
            None => default,
            Some(0) => usize::try_from(ALL_AT_ONCE).unwrap_or(usize::MAX),
            Some(number) => usize::try_from(number).unwrap_or(usize::MAX),
        };
    let downloads =
        layers("max-concurrent-downloads", arguments.max_concurrent_downloads, defaults.downloads);
    let uploads =
        layers("max-concurrent-uploads", arguments.max_concurrent_uploads, defaults.uploads);
    let attempts = arguments.max_download_attempts;
    RegistryOptions {
        mirrors: directives.list("registry-mirrors", &arguments.registry_mirrors),
        insecure: directives.list("insecure-registries", &arguments.insecure_registries),
        certs_dirs: match certs_dir {
            Some(directory) => vec![directory.into()],
            None => DEFAULT_CERTS_DIRS.map(PathBuf::from).into(),
        },
        proxy: proxy(directives, arguments, defaults.proxy),
        max_attempts: directives
            .number("max-download-attempts", attempts, 1..=MOST_ATTEMPTS)
            .unwrap_or(defaults.max_attempts),
        downloads,
        uploads,
    }
}

/// Takes the proxies; what is not said, the environment says.
fn proxy(directives: &mut Directives, arguments: &Arguments, environment: Proxy) -> Proxy {
    let listed = directives.take("proxies").map(serde_json::from_value::<Proxies>);
    let file = match listed {
        None => Proxies::default(),
        Some(Ok(proxies)) => proxies,
        Some(Err(_)) => {
            let known = "http-proxy, https-proxy and no-proxy";
            directives.problem(format!("proxies must be an object of {known}, each a text"));
            Proxies::default()
        }
    };
    let mut one = |name, flag: &Option<String>, file: Option<String>, other: Option<String>| {
        if flag.is_some() && file.is_some() {
            // A proxy's address may hold a password: it is not shown.
            directives.twice(name, "…", "…");
        }
        flag.clone().or(file).or(other)
    };
    Proxy {
        http: one("http-proxy", &arguments.http_proxy, file.http_proxy, environment.http),
        https: one("https-proxy", &arguments.https_proxy, file.https_proxy, environment.https),
        no_proxy: one("no-proxy", &arguments.no_proxy, file.no_proxy, environment.no_proxy),
    }
}
