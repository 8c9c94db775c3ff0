//! Containers in the database: one versioned JSON document each.

use std::sync::Arc;

use oriel_hcs::Compartment;
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::{
    EngineError, Membership, NetworkView, Shared, Spec, State, Time, networks::donor,
    volumes::VolumeRecord,
};

/// Container id to [`Record`].
const CONTAINERS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine_containers");
/// Name to [`VolumeRecord`].
const VOLUMES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("engine_volumes");
/// Id to [`NetworkRecord`].
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
    pub(crate) spec: Shared<Spec>,
    /// Its state.
    pub(crate) state: State,
    /// Restarts by its policy since a client last started it.
    pub(crate) restarts: u32,
    /// Its network compartment, while it runs.
    #[serde(default)]
    pub(crate) compartment: Option<Compartment>,
}

/// What is kept of a network.
#[derive(Serialize, Deserialize)]
struct NetworkRecord<N> {
    version: u32,
    network: N,
}

impl Record {
    pub(crate) fn new(id: String, name: String, created: Time, spec: Spec) -> Self {
        let state = State::Created { failure: None };
        let spec = spec.into();
        Self { version: VERSION, id, name, created, spec, state, restarts: 0, compartment: None }
    }

    /// The first version knew one network of a container only: that of its mode.
    fn upgraded(mut self) -> Self {
        if self.version < 2 && donor(&self.spec.host.network).is_none() {
            let host = &mut self.spec.host;
            host.networks = vec![Membership::to(&host.network)];
        }
        self.version = VERSION;
        self
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
            transaction.open_table(VOLUMES)?;
            transaction.open_table(NETWORKS)?;
            transaction.open_table(FACTS)?;
            Ok(())
        })?;
        Ok(records)
    }

    /// All containers.
    pub(crate) fn all(&self) -> Result<Vec<Record>, EngineError> {
        let rows = self.rows("read the containers", CONTAINERS)?;
        let record = |(id, bytes): (String, Vec<u8>)| decode(&id, &bytes).map(Record::upgraded);
        rows.into_iter().map(record).collect()
    }

    /// All volumes.
    pub(crate) fn volumes(&self) -> Result<Vec<VolumeRecord>, EngineError> {
        let rows = self.rows("read the volumes", VOLUMES)?;
        rows.into_iter().map(|(name, bytes)| decode(&name, &bytes)).collect()
    }

    /// Writes a volume.
    pub(crate) fn save_volume(&self, record: &VolumeRecord) -> Result<(), EngineError> {
        self.put("write a volume", VOLUMES, &record.name, record)
    }

    /// Forgets a volume.
    pub(crate) fn forget_volume(&self, name: &str) -> Result<(), EngineError> {
        self.drop("forget a volume", VOLUMES, name)
    }

    fn rows(
        &self,
        attempt: &'static str,
        table: TableDefinition<'_, &str, &[u8]>,
    ) -> Result<Vec<(String, Vec<u8>)>, EngineError> {
        let read = || -> Result<Vec<(String, Vec<u8>)>, redb::Error> {
            let table = self.database.begin_read()?.open_table(table)?;
            let mut rows = Vec::new();
            for row in table.iter()? {
                let (id, bytes) = row?;
                rows.push((id.value().to_owned(), bytes.value().to_vec()));
            }
            Ok(rows)
        };
        read().map_err(|source| EngineError::Database { attempt, source })
    }

    /// All networks that clients made.
    pub(crate) fn networks(&self) -> Result<Vec<NetworkView>, EngineError> {
        let rows = self.rows("read the networks", NETWORKS)?;
        let network = |(id, bytes): (String, Vec<u8>)| {
            decode(&id, &bytes).map(|record: NetworkRecord<NetworkView>| record.network)
        };
        rows.into_iter().map(network).collect()
    }

    /// Writes a network.
    pub(crate) fn save_network(&self, network: &NetworkView) -> Result<(), EngineError> {
        let record = NetworkRecord { version: VERSION, network };
        self.put("write a network", NETWORKS, &network.id, &record)
    }

    /// Forgets a network.
    pub(crate) fn delete_network(&self, id: &str) -> Result<(), EngineError> {
        self.drop("forget a network", NETWORKS, id)
    }

    /// Writes a container.
    pub(crate) fn save(&self, record: &Record) -> Result<(), EngineError> {
        self.put("write a container", CONTAINERS, &record.id, record)
    }

    /// Forgets a container.
    pub(crate) fn delete(&self, id: &str) -> Result<(), EngineError> {
        self.drop("forget a container", CONTAINERS, id)
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

    /// Writes a record under its key.
    fn put(
        &self,
        attempt: &'static str,
        table: TableDefinition<'_, &str, &[u8]>,
        id: &str,
        record: &impl Serialize,
    ) -> Result<(), EngineError> {
        let bytes = serde_json::to_vec(record)
            .map_err(|source| EngineError::Record { id: id.to_owned(), source })?;
        self.write(attempt, |transaction| {
            transaction.open_table(table)?.insert(id, bytes.as_slice())?;
            Ok(())
        })
    }

    /// Removes the record of a key.
    fn drop(
        &self,
        attempt: &'static str,
        table: TableDefinition<'_, &str, &[u8]>,
        id: &str,
    ) -> Result<(), EngineError> {
        self.write(attempt, |transaction| {
            transaction.open_table(table)?.remove(id)?;
            Ok(())
        })
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

fn decode<T: serde::de::DeserializeOwned>(id: &str, bytes: &[u8]) -> Result<T, EngineError> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let damaged = |source| EngineError::Record { id: id.to_owned(), source };
    let head: Head = serde_json::from_slice(bytes).map_err(damaged)?;
    if head.version > VERSION {
        let detail = format!("record version {} is newer than {VERSION}", head.version);
        return Err(damaged(serde::de::Error::custom(detail)));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}
