//! Servers that speak TLS, and want to know the nodes by their certificates.

use super::{Cluster, configuration, submit};
use crate::helper::{Home, block_on};
use crate::nats::Servers;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Child;

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: PathBuf,
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = dir.join(format!("{name}.pem"));
        fs::write(&certificate, params.self_signed(&key).unwrap().pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), certificate }
    }

    /// The files with a certificate for this name or address, and its key.
    fn sign(&self, dir: &Path, name: &str) -> (PathBuf, PathBuf) {
        let (key, params) =
            (KeyPair::generate().unwrap(), CertificateParams::new([name.to_owned()]).unwrap());
        let (certificate, secret) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
        fs::write(&certificate, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        fs::write(&secret, key.serialize_pem()).unwrap();
        (certificate, secret)
    }
}

/// Is killed when it goes.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn nodes_and_servers_know_each_other_by_their_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut servers) = Servers::within(dir.path(), 1) else { return };
    let (own, other) = (Authority::new(dir.path(), "own"), Authority::new(dir.path(), "other"));
    let server = own.sign(dir.path(), &servers.for_clients(0).ip().to_string());
    servers.configure_besides(format!(
        "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify: true }}",
        server.0, server.1, own.certificate
    ));
    servers.start_again(0);
    let node = own.sign(dir.path(), "node");
    let stranger = other.sign(dir.path(), "stranger");
    let with = |nth: usize, ca: &Path, (certificate, key): &(PathBuf, PathBuf)| {
        let plain = configuration(&servers, 3, nth, "");
        format!("{plain}tls_ca = {ca:?}\ntls_certificate = {certificate:?}\ntls_key = {key:?}\n")
    };
    let homes = [0, 1].map(|nth| Home::new(&with(nth, &own.certificate, &node)));
    // One that does not know who has signed the server's certificate, one that takes somebody else for it, and one whom the server does
    // not know.
    let refused = [
        (Home::new(&configuration(&servers, 3, 2, "")), "invalid peer certificate"),
        (Home::new(&with(2, &other.certificate, &node)), "invalid peer certificate"),
        (Home::new(&with(2, &own.certificate, &stranger)), "received fatal alert: UnknownCA"),
    ];
    let cluster = Cluster { servers, homes: homes.into() };
    block_on(async {
        let mut daemons = cluster.serve_all().await;
        let owner = cluster.owner_after(1).await;
        submit(&cluster.homes[1 - owner].socket(), "one").await;
        daemons[owner].take().unwrap().kill().await;
        cluster.owner_after(2).await;
        assert_eq!(submit(&cluster.homes[1 - owner].socket(), "two").await, 2);
        for (home, why) in refused {
            let log = fs::File::create(home.path("log.txt")).unwrap();
            let _node = Killed(home.serve_command().stderr(log).spawn().unwrap());
            home.until_logged(why).await;
            assert!(home.log().contains("is tried again and again"), "{}", home.log());
        }
    });
}
