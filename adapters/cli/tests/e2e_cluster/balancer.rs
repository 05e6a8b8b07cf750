//! What stands in front of a cluster: one address, which leads to the first relay of a list that answers.

use core::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// One address for several relays.
pub(crate) struct Balancer {
    pub(crate) address: SocketAddr,
    targets: Arc<Mutex<Vec<SocketAddr>>>,
    /// Counts the cuts.
    cuts: watch::Sender<u32>,
    _serving: JoinSet<()>,
}

impl Balancer {
    pub(crate) async fn start(targets: Vec<SocketAddr>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let targets = Arc::new(Mutex::new(targets));
        let mut serving = JoinSet::new();
        let known = targets.clone();
        let cuts = watch::Sender::new(0);
        let cutting = cuts.clone();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                let mut cut = cutting.subscribe();
                let carried = carry(near, known.lock().unwrap().clone());
                connections.spawn(async move {
                    tokio::select! { () = carried => {}, _ = cut.changed() => {} }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, targets, cuts, _serving: serving }
    }

    /// Leads to these from now on, the first that answers.
    pub(crate) fn lead_to(&self, targets: Vec<SocketAddr>) {
        *self.targets.lock().unwrap() = targets;
    }

    /// Ends every connection, and leads nowhere from now on.
    pub(crate) fn cut(&self) {
        self.lead_to(Vec::new());
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

async fn carry(mut near: TcpStream, targets: Vec<SocketAddr>) {
    for target in targets {
        if let Ok(mut far) = TcpStream::connect(target).await {
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            let _ = copy_bidirectional(&mut near, &mut far).await;
            return;
        }
    }
}
