//! Containers in the database: one versioned JSON document each.

use std::sync::Arc;

use oriel_hcs::Compartment;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::{EngineError, Membership, NetworkView, Spec, State, Time, networks::donor};

/// Container id to [`Record`].
const CONTAINERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine_containers");
/// Network id to [`NetworkRecord`].
const NETWORKS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine_networks");
/// Facts about the engine itself, such as the ids of the networks that every engine has.
const FACTS: TableDefinition<'_, &str, &str> = TableDefinition::new("engine_facts");

/// Version of [`Record`]; a newer one is refused at start rather than misread.
const VERSION: u32 = 2;

/// What is kept of a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    version: u32,
    /// Its id.
    pub(crate) id: String,
    /// Its name, without a slash.
    pub(crate) name: String,
    /// When it was created.
    pub(crate) created: Time,
    /// What it is.
    pub(crate) spec: Spec,
    /// Its state.
    pub(crate) state: State,
    /// Restarts by its policy since a client last started it.
    pub(crate) restarts: u32,
    /// Its network compartment, while it runs.
    #[serde(default)]
    pub(crate) compartment: Option<Compartment>,
}

/// Version of [`NetworkRecord`].
const NETWORK_VERSION: u32 = 1;

/// What is kept of a network.
#[derive(Serialize, Deserialize)]
struct NetworkRecord<N> {
    version: u32,
    network: N,
}

impl Record {
    pub(crate) fn new(id: String, name: String, created: Time, spec: Spec) -> Self {
        let state = State::Created { failure: None };
        Self { version: VERSION, id, name, created, spec, state, restarts: 0, compartment: None }
    }
}

/// The engine's tables. All calls block for the time of a disk write.
#[derive(Clone)]
pub(crate) struct Records {
    database: Arc<Database>,
}

impl Records {
    /// Opens the tables, and makes them when they are missing.
    pub(crate) fn open(database: Arc<Database>) -> Result<Self, EngineError> {
        let records = Self { database };
        records.write("open the engine's tables", |transaction| {
            transaction.open_table(CONTAINERS)?;
            transaction.open_table(NETWORKS)?;
            transaction.open_table(FACTS)?;
            Ok(())
        })?;
        Ok(records)
    }

    /// All containers.
    pub(crate) fn all(&self) -> Result<Vec<Record>, EngineError> {
        let attempt = "read the containers";
        let rows = self.rows(CONTAINERS);
        let rows = rows.map_err(|source| EngineError::Database { attempt, source })?;
        rows.into_iter().map(|(id, bytes)| decode(id, &bytes)).collect()
    }

    fn rows(
        &self,
        table: TableDefinition<'_, &'static str, &'static [u8]>,
    ) -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
        let table = self.database.begin_read()?.open_table(table)?;
        let mut rows = Vec::new();
        for row in table.iter()? {
            let (id, bytes) = row?;
            rows.push((id.value().to_owned(), bytes.value().to_vec()));
        }
        Ok(rows)
    }

    /// All networks that clients made.
    pub(crate) fn networks(&self) -> Result<Vec<NetworkView>, EngineError> {
        let attempt = "read the networks";
        let rows = self.rows(NETWORKS);
        let rows = rows.map_err(|source| EngineError::Database { attempt, source })?;
        let decode = |(id, bytes): (String, Vec<u8>)| {
            let damaged = |source| EngineError::NetworkRecord { id, source };
            let record: Result<NetworkRecord<NetworkView>, _> = serde_json::from_slice(&bytes);
            match record {
                Ok(record) if record.version > NETWORK_VERSION => {
                    Err(damaged(newer(record.version, NETWORK_VERSION)))
                }
                other => other.map(|record| record.network).map_err(damaged),
            }
        };
        rows.into_iter().map(decode).collect()
    }

    /// Writes a network.
    pub(crate) fn save_network(&self, network: &NetworkView) -> Result<(), EngineError> {
        let bytes = serde_json::to_vec(&NetworkRecord { version: NETWORK_VERSION, network })
            .map_err(|source| EngineError::NetworkRecord { id: network.id.clone(), source })?;
        self.write("write a network", |transaction| {
            transaction.open_table(NETWORKS)?.insert(network.id.as_str(), bytes.as_slice())?;
            Ok(())
        })
    }

    /// Forgets a network.
    pub(crate) fn delete_network(&self, id: &str) -> Result<(), EngineError> {
        self.write("forget a network", |transaction| {
            transaction.open_table(NETWORKS)?.remove(id)?;
            Ok(())
        })
    }

    /// Writes a container.
    pub(crate) fn save(&self, record: &Record) -> Result<(), EngineError> {
        let bytes = serde_json::to_vec(record)
            .map_err(|source| EngineError::Record { id: record.id.clone(), source })?;
        self.write("write a container", |transaction| {
            transaction.open_table(CONTAINERS)?.insert(record.id.as_str(), bytes.as_slice())?;
            Ok(())
        })
    }

    /// Forgets a container.
    pub(crate) fn delete(&self, id: &str) -> Result<(), EngineError> {
        self.write("forget a container", |transaction| {
            transaction.open_table(CONTAINERS)?.remove(id)?;
            Ok(())
        })
    }

    /// A fact, made by `make` the first time it is asked for.
    pub(crate) fn fact(
        &self,
        name: &str,
        make: impl FnOnce() -> String,
    ) -> Result<String, EngineError> {
        let mut fact = String::new();
        self.write("keep a fact", |transaction| {
            let mut table = transaction.open_table(FACTS)?;
            let known = table.get(name)?.map(|value| value.value().to_owned());
            fact = known.unwrap_or_else(make);
            table.insert(name, fact.as_str())?;
            Ok(())
        })?;
        Ok(fact)
    }

    fn write(
        &self,
        attempt: &'static str,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<(), EngineError> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.database.begin_write()?;
            change(&transaction)?;
            transaction.commit()?;
            Ok(())
        };
        write().map_err(|source| EngineError::Database { attempt, source })
    }
}

fn decode(id: String, bytes: &[u8]) -> Result<Record, EngineError> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let damaged = |source| EngineError::Record { id: id.clone(), source };
    let head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
    if head.version > VERSION {
        return Err(damaged(newer(head.version, VERSION)));
    }
    let mut record: Record = serde_json::from_slice(bytes).map_err(damaged)?;
    let host = &mut record.spec.host;
    if head.version < 2 && donor(&host.network).is_none() {
        // The first version knew one network only: that of the mode.
        host.networks = vec![Membership::to(&host.network)];
    }
    record.version = VERSION;
    Ok(record)
}

fn newer(found: u32, known: u32) -> serde_json::Error {
    serde::de::Error::custom(format!("record version {found} is newer than {known}"))
}
