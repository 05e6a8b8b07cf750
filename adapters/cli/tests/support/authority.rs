//! An authority of a test's own, and certificates from it.

use std::path::{Path, PathBuf};

/// An authority, whose certificate is in a file.
pub struct Authority {
    dir: PathBuf,
    pub root: PathBuf,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    pub fn new(dir: &Path, name: &str) -> Self {
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let root = dir.join(format!("{name}.pem"));
        std::fs::write(&root, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { dir: dir.into(), root, issuer: rcgen::Issuer::new(params, key) }
    }

    /// A certificate for a name: paths of chain and key.
    pub fn issue(&self, name: &str) -> [PathBuf; 2] {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let paths = ["chain", "key"].map(|part| self.dir.join(format!("{name}-{part}.pem")));
        for (path, pem) in paths.iter().zip([leaf.pem(), key.serialize_pem()]) {
            std::fs::write(path, pem).unwrap();
        }
        paths
    }
}

/// An authority, and a certificate of its for `localhost`: paths of root, chain and key.
pub fn certificates(dir: &Path) -> [PathBuf; 3] {
    let authority = Authority::new(dir, "root");
    let [chain, key] = authority.issue("localhost");
    [authority.root, chain, key]
}
