//! What a registry file does to a registry.

use oriel_hcs::bridge::{RegistryHive, RegistryKey, RegistryOperation};
use oriel_hive::reg::{Changes, Section};
use oriel_hive::{Delta, Key, ValueChange, apply, diff};
use oriel_image::RegistryChange;

use super::name::KeyName;
use super::view::{Place, RegistryView};
use crate::EngineError;

/// The changes of a file, each with the place of its key.
pub(super) struct Plan(Vec<(Place, Section)>);

impl Plan {
    /// Finds the place of every key, before anything changes.
    ///
    /// # Errors
    /// `Invalid`, with the line.
    pub(super) fn new(view: &RegistryView, sections: Vec<Section>) -> Result<Self, EngineError> {
        let placed = sections.into_iter().map(|section| {
            let place = place(view, &section).map_err(|error| {
                let line = section.line;
                EngineError::invalid(format!("cannot import registry file: line {line}: {error}"))
            })?;
            Ok((place, section))
        });
        placed.collect::<Result<_, EngineError>>().map(Self)
    }

    /// Number of keys, and of values in them.
    pub(super) fn size(&self) -> (usize, usize) {
        let values = self.0.iter().map(|(_, section)| section.values.len());
        (self.0.len(), values.sum())
    }

    /// What is done in a running registry, in order.
    pub(super) fn operations(self) -> Vec<RegistryOperation> {
        let steps = self.0.into_iter().flat_map(|(place, section)| {
            let names = place.names.iter().map(|name| name.units().to_vec()).collect();
            let key = RegistryKey { hive: place.hive, names };
            let first = match section.deleted {
                true => RegistryOperation::DeleteKey { key: key.clone() },
                false => RegistryOperation::CreateKey { key: key.clone() },
            };
            let values = section.values.into_iter().map(move |value| operation(&key, value));
            std::iter::once(first).chain(values)
        });
        steps.collect()
    }

    /// What is different afterwards.
    ///
    /// # Errors
    /// `Invalid` when the file names more keys than memory should be spent on.
    pub(super) fn change(self, view: &RegistryView) -> Result<RegistryChange, EngineError> {
        let [mut machine, mut default, mut user] = std::array::from_fn(|_| Changes::default());
        for (place, section) in self.0 {
            let changes = match place.hive {
                RegistryHive::Machine => &mut machine,
                RegistryHive::Default => &mut default,
                RegistryHive::User => &mut user,
            };
            changes.add(&place.names, section)?;
        }
        Ok(RegistryChange {
            machine: least(&view.trees.machine, machine),
            default: least(&view.trees.default, default),
            user: least(&view.trees.user, user),
        })
    }
}

fn place(view: &RegistryView, section: &Section) -> Result<Place, EngineError> {
    let place = view.place(&KeyName::in_file(&section.key)?, section.deleted)?;
    if section.deleted && place.names.is_empty() {
        return Err(EngineError::BadKey {
            key: section.key.to_string(),
            reason: "a root cannot be deleted",
        });
    }
    Ok(place)
}

fn operation(key: &RegistryKey, value: ValueChange) -> RegistryOperation {
    let key = key.clone();
    match value {
        ValueChange::Set(value) => RegistryOperation::SetValue {
            key,
            name: value.name.units().to_vec(),
            kind: value.kind.0,
            data: value.data,
        },
        ValueChange::Tombstone(name) => {
            RegistryOperation::DeleteValue { key, name: name.units().to_vec() }
        }
    }
}

/// The changes without those that `base` has already.
fn least(base: &Key, changes: Changes) -> Delta {
    let mut new = base.clone();
    apply(&mut new, &Delta { root: changes.delta(base) });
    diff(base, &new)
}
