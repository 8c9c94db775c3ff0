//! Puts rule sets into the kernel through `nft -j`, one transaction each.

use std::{path::Path, time::Duration};

use nftables::{
    helper::{self, NftablesError},
    schema::Nftables,
};
use oriel_hcs::NetworkError;

use crate::failure::host;

/// A transaction takes milliseconds; a rule set of a large host some hundred of them. After this
/// long `nft` hangs.
const DEADLINE: Duration = Duration::from_secs(20);

/// Where distributions put `nft`; a service's search path often lacks the directory.
const USUAL_PATH: &str = "/usr/sbin/nft";

/// The program to run.
pub(crate) fn program() -> &'static str {
    if Path::new(USUAL_PATH).exists() { USUAL_PATH } else { "nft" }
}

/// Applies a transaction, whole or not at all. Not cancel safe: when dropped, `nft` may still
/// finish its work.
pub(crate) async fn apply(batch: &Nftables<'_>) -> Result<(), NetworkError> {
    const ATTEMPT: &str = "change the packet filter";
    let work = helper::apply_ruleset_with_args_async(batch, Some(program()), helper::DEFAULT_ARGS);
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(host(ATTEMPT, reason(&error))),
        Err(_) => Err(host(ATTEMPT, format!("nft did not end within {DEADLINE:?}"))),
    }
}

/// What `nft` prints about the tables, or whatever else is asked, as JSON text.
pub(crate) async fn list(what: &'static [&'static str]) -> Result<String, NetworkError> {
    const ATTEMPT: &str = "list the packet filter";
    let work = helper::get_current_ruleset_raw_async(Some(program()), what);
    match tokio::time::timeout(DEADLINE, work).await {
        Ok(Ok(text)) => Ok(text),
        Ok(Err(error)) => Err(host(ATTEMPT, reason(&error))),
        Err(_) => Err(host(ATTEMPT, format!("nft did not end within {DEADLINE:?}"))),
    }
}

/// Whether the table exists.
pub(crate) async fn has_table(name: &str) -> Result<bool, NetworkError> {
    let listing = list(&["list", "tables", "ip"]).await?;
    let listing: serde_json::Value =
        serde_json::from_str(&listing).map_err(|error| host("list the packet filter", error))?;
    let objects = listing["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(objects.iter().any(|object| object["table"]["name"] == name))
}

/// The first line of what `nft` said, which names the cause; the rest quotes the transaction.
pub(crate) fn reason(error: &NftablesError) -> String {
    match error {
        NftablesError::NftFailed { stderr, .. } => {
            stderr.lines().next().unwrap_or("nft failed without saying why").to_owned()
        }
        other => other.to_string(),
    }
}
