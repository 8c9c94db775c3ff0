//! The real parts, put together.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use anyhow::{Context as _, bail};
use oriel_engine::{Clock, Engine, HostPipes, IdSource, Parts, Time};
use oriel_hcs::{Check, CheckLevel, ComputeHost as _};
use oriel_hns::{HostNetwork, HostNetworkOptions};
use oriel_image::ImageStore;
use oriel_silo::{SiloHost, SiloPaths};

use crate::{
    daemon::{Daemon, Fixed},
    options::{Address, Options},
    routes::buildkit::sweep,
};

/// Bytes of the database kept in memory: the records of thousands of containers fit, and the
/// database's own choice is a gigabyte.
const DATABASE_CACHE: usize = 4 << 20;

/// The daemon, and what it has to shut down.
pub(crate) struct Wired {
    pub(crate) daemon: Daemon,
    pub(crate) network: Arc<HostNetwork>,
}

/// Checks that this is root.
pub(crate) fn need_root() -> anyhow::Result<()> {
    if fs_err::metadata("/proc/self")?.uid() == 0 {
        return Ok(());
    }
    bail!(
        "orield has to be run as root, because it makes namespaces, mounts and networks: \
         sudo orield"
    )
}

/// Keeps a second daemon away from a data root, as long as the file lives.
pub(crate) fn lock(data_root: &Path) -> anyhow::Result<fs_err::File> {
    fs_err::create_dir_all(data_root)?;
    let path = data_root.join("orield.lock");
    let file = fs_err::OpenOptions::new().create(true).append(true).open(&path)?;
    match file.file().try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => bail!(
            "another orield uses {}: stop it first, or choose another --data-root",
            data_root.display()
        ),
        Err(std::fs::TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("cannot lock {}", path.display()))
        }
    }
}

/// Puts the real parts together, and takes up what an earlier daemon left.
/// `warnings` are for `docker info`.
pub(crate) async fn wire(options: &Options, mut warnings: Vec<String>) -> anyhow::Result<Wired> {
    let root = options.data_root.clone();
    fs_err::create_dir_all(&options.exec_root)?;
    let database = Arc::new(
        redb::Database::builder()
            .set_cache_size(DATABASE_CACHE)
            .create(root.join("meta.redb"))
            .with_context(|| format!("cannot open {}", root.join("meta.redb").display()))?,
    );
    let images = {
        let (root, database) = (root.clone(), database.clone());
        let substitutes = options.substitutes.clone();
        let open = move || ImageStore::open_with(&root, database, substitutes);
        tokio::task::spawn_blocking(open).await??
    };
    let network = HostNetworkOptions::new(&options.nat.bridge, options.exec_root.join("netns"));
    let network = Arc::new(HostNetwork::new(network)?);
    let personality_root = root.clone();
    let engine = Engine::open(Parts {
        host: Arc::new(silo(options)),
        network: network.clone(),
        images,
        database,
        root,
        personality: Box::new(move || personality(&personality_root)),
        clock: Arc::new(HostClock),
        ids: Arc::new(RandomIds),
        nat: options.nat.clone(),
        address_pools: options.address_pools.clone(),
        pipes: HostPipes { engine: api_socket(options), folder: options.exec_root.join("pipes") },
        sandbox_size: options.sandbox_size,
    })
    .await?;
    let secrets = options.exec_root.join("secrets");
    sweep(&secrets)?;
    let missing = programs(options).into_iter().filter(|check| check.level != CheckLevel::Ok);
    warnings.extend(missing.map(|check| format!("{}: {}", check.name, check.finding)));
    let fixed = Fixed {
        warnings,
        logs: options.logs.clone(),
        secrets,
        dns: options.dns.clone(),
        strict: options.strict,
    };
    Ok(Wired { daemon: Daemon::new(engine, options.live.clone(), fixed)?, network })
}

/// The Unix socket on which this daemon is reached, if there is one.
fn api_socket(options: &Options) -> Option<PathBuf> {
    options.hosts.iter().find_map(|address| match address {
        Address::Unix(path) => Some(path.clone()),
        // What `oriel.socket` listens on.
        Address::Passed => Some(PathBuf::from("/run/oriel.sock")),
        Address::Tcp(_) => None,
    })
}

/// Where the NT personality is, when there is one.
fn personality(data_root: &Path) -> Option<PathBuf> {
    match oriel_personality::current(data_root) {
        Ok(found) => found.map(|personality| personality.root),
        Err(error) => {
            tracing::error!(error = %error, "cannot read the NT personality");
            None
        }
    }
}

fn silo(options: &Options) -> SiloHost {
    SiloHost::new(SiloPaths {
        agent: program(options, AGENT),
        cexecsvc: program(options, CEXECSVC),
        run_dir: options.exec_root.join("silo"),
        data_root: options.data_root.clone(),
    })
}

const AGENT: &str = "oriel-agent";
const CEXECSVC: &str = "cexecsvc.exe";

/// Path of a program that travels with the daemon.
fn program(options: &Options, name: &str) -> PathBuf {
    let beside = || {
        let own = std::env::current_exe().ok()?;
        own.parent().map(Path::to_owned)
    };
    let directory = options.libexec_dir.clone().or_else(beside).unwrap_or_default();
    directory.join(name)
}

/// Whether the programs that travel with the daemon are there.
fn programs(options: &Options) -> Vec<Check> {
    [AGENT, CEXECSVC]
        .into_iter()
        .map(|name| {
            let path = program(options, name);
            let found = path.is_file();
            let remedy = "install it beside orield, or name its directory with --libexec-dir";
            Check {
                name: name.to_owned(),
                level: if found { CheckLevel::Ok } else { CheckLevel::Failing },
                finding: if found {
                    path.display().to_string()
                } else {
                    format!("not found at {}", path.display())
                },
                remedy: if found { String::new() } else { remedy.to_owned() },
            }
        })
        .collect()
}

/// What the host needs, without a daemon.
pub(crate) async fn checks(options: &Options) -> Vec<Check> {
    let mut checks = programs(options);
    checks.extend(silo(options).check().await);
    checks.extend(oriel_hns::check().await);
    checks.push(oriel_image::check_disks());
    let found = personality(&options.data_root);
    checks.push(Check {
        name: "NT personality".to_owned(),
        level: if found.is_some() { CheckLevel::Ok } else { CheckLevel::Failing },
        finding: found
            .as_ref()
            .map_or_else(|| "not built".to_owned(), |path| path.display().to_string()),
        remedy: found.map_or_else(|| "run `oriel base build`".to_owned(), |_| String::new()),
    });
    checks
}

struct HostClock;

impl Clock for HostClock {
    fn now(&self) -> Time {
        SystemTime::now().into()
    }
}

struct RandomIds;

impl RandomIds {
    fn bytes<const N: usize>() -> [u8; N] {
        use std::io::Read as _;

        let mut bytes = [0; N];
        let mut source = fs_err::File::open("/dev/urandom").expect("every Linux has /dev/urandom");
        source.read_exact(&mut bytes).expect("/dev/urandom has no end");
        bytes
    }
}

impl IdSource for RandomIds {
    fn id(&self) -> String {
        Self::bytes::<32>().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn pick(&self, bound: usize) -> usize {
        usize::try_from(u64::from_le_bytes(Self::bytes())).unwrap_or(0) % bound.max(1)
    }
}
