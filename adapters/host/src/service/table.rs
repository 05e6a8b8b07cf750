//! All services of a host, and what happens when the configuration changes.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use super::{ExposeError, Exposed, Service, Signer};

/// All services of a host by name.
#[derive(Clone, Debug, Default)]
pub struct Services {
    all: BTreeMap<String, Arc<Service>>,
    signer: OnceLock<Arc<Signer>>,
}

impl Services {
    /// Builds the table.
    ///
    /// # Errors
    ///
    /// When two services share a name, or one cannot be made ready.
    pub fn new(all: impl IntoIterator<Item = Exposed>) -> Result<Self, ExposeError> {
        let mut table = Self::default();
        for exposed in all {
            table.add(Service::new(exposed)?)?;
        }
        Ok(table)
    }

    /// The same, with some that are there already.
    pub(crate) fn with_own(all: impl IntoIterator<Item = Exposed>, own: &[Arc<Service>]) -> Result<Self, ExposeError> {
        let mut table = Self::new(all)?;
        own.iter().try_for_each(|service| table.insert(service.clone()))?;
        Ok(table)
    }

    /// From now on services are told who calls by this signer.
    pub(crate) fn sign_with(&self, signer: &Arc<Signer>) {
        let _ = self.signer.set(signer.clone()); // a host has one
        for service in self.iter() {
            let _ = service.signer.set(signer.clone());
        }
    }

    /// What services check assertions with.
    pub(crate) fn signer(&self) -> Option<&Arc<Signer>> {
        self.signer.get()
    }

    /// Takes the place of others: requests on streams that began with them go to these from now on.
    pub(crate) fn replace(&self, before: &Self) {
        if let Some(signer) = before.signer.get() {
            self.sign_with(signer);
        }
        for (name, old) in &before.all {
            let next = self.find(name);
            if next.is_none_or(|next| !Arc::ptr_eq(next, old)) {
                let _ = old.next.set(next.cloned()); // nobody replaces it twice
            }
        }
    }

    /// Adds one service.
    ///
    /// # Errors
    ///
    /// When its name is taken.
    pub fn add(&mut self, service: Service) -> Result<(), ExposeError> {
        self.insert(Arc::new(service))
    }

    fn insert(&mut self, service: Arc<Service>) -> Result<(), ExposeError> {
        if self.all.contains_key(service.name()) {
            return Err(ExposeError::Twice(service.name().to_owned()));
        }
        self.all.insert(service.name().to_owned(), service);
        Ok(())
    }

    /// The service of that name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Arc<Service>> {
        self.all.get(name)
    }

    /// All services, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.all.values()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
