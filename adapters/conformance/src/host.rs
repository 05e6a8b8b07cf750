//! A host that takes in whoever has its ticket, answers streams and serves TCP.

use core::marker::PhantomData;
use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use futures_io::{AsyncRead, AsyncWrite};
use futures_util::future::try_join;
use futures_util::io::{BufReader, copy_buf};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use homing_core::Instant;
use homing_core::channel::{Config, code, token_hash};
use homing_core::crypto::{Identity, PublicKey, Secret};
use homing_core::handshake::{
    self, ChannelId, ConnectKnock, Door, Exports, Knock, PairKnock, Suite, hear, host_mac1_key,
};
use homing_core::hop::{Capability, route_id, rv_hash};
use homing_core::pairing::{Flags, Office, Ticket, TicketId};
use homing_driver::host::{Gate, Known, PairRequest, Registrar, Registration, Session, Sessions, Welcome, serve};
use homing_driver::relay::{ClientTls, RelayUrl, Seek};
use homing_driver::{Ended, Stream, StreamError, steady};

use crate::runtime::Runtime;
use crate::{PATIENCE, entropy};

/// What a stream asks the host for by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Everything back.
    Echo = b'e' as isize,
    /// A reset, with the code [`Wish::CODE`].
    Reset = b'r' as isize,
    /// `done` and the end at once; what comes then is counted and told to the test.
    Count = b'c' as isize,
    /// The TCP service at the port of this machine that the next two bytes say, the low one first.
    Serve = b's' as isize,
}

impl Wish {
    /// What a host resets a stream with that asks for it.
    pub const CODE: u16 = 300;

    /// The first byte.
    #[must_use]
    pub const fn byte(self) -> u8 {
        self as u8
    }
}

/// What a host tells a test.
#[derive(Debug)]
pub enum Told {
    /// This relay has it.
    Registered(RelayUrl),
    /// A stream that was counted came to its end after so many bytes.
    Whole(usize),
    /// A stream that was counted broke off.
    Broken(Option<StreamError>),
    /// Its link is over.
    Ended(Ended),
}

/// A host on a thread of its own.
#[derive(Debug)]
pub struct Host {
    /// What devices pair with.
    pub ticket: Arc<Ticket>,
    /// The relay that it came to first; where that has a cluster, maybe another than it was given.
    pub at: RelayUrl,
    told: Receiver<Told>,
    grip: Arc<Grip>,
}

/// What a test changes of a host that runs.
#[derive(Debug, Default)]
struct Grip {
    revoked: AtomicBool,
    session: Mutex<Option<Session>>,
}

impl Host {
    /// Starts one, and waits until it is reachable.
    #[must_use]
    pub fn start<R: Runtime>(url: &RelayUrl, tls: ClientTls, suite: Suite) -> Self {
        let identity = Identity::generate(&mut entropy());
        let flags = Flags { plain: url.is_plain(), ..Flags::default() };
        let ticket = Ticket::issue(suite, flags, u32::MAX, identity.public(), url.authority(), &mut entropy());
        let ticket = Arc::new(ticket.unwrap());
        let (tell, told) = mpsc::channel();
        let grip = Arc::<Grip>::default();
        let (url, ours, gripped) = (url.clone(), ticket.clone(), grip.clone());
        std::thread::spawn(move || {
            let mut keeper = Keeper {
                identity,
                route: Identity::generate(&mut entropy()),
                capability_key: Secret::random(&mut entropy()),
                ticket: ours,
                office: Office::new(),
                device: None,
                at: url.clone(),
                tell,
                grip: gripped,
                runtime: PhantomData::<fn() -> R>,
            };
            R::run(async move { keeper.run(&url, &tls).await });
        });
        let first = told.recv_timeout(PATIENCE).expect("told in time");
        let Told::Registered(at) = first else { panic!("not registered: {first:?}") };
        Self { ticket, at, told, grip }
    }

    /// What it tells next.
    #[must_use]
    pub fn told(&self) -> Told {
        self.told.recv_timeout(PATIENCE).expect("told in time")
    }

    /// Ends the device's session, and lets it in no more.
    pub fn revoke(&self) {
        self.grip.revoked.store(true, Ordering::SeqCst);
        let session = self.grip.session.lock().unwrap().take();
        session.expect("a device that is there").close(code::REVOKED);
    }
}

struct Keeper<R> {
    identity: Identity,
    route: Identity,
    capability_key: Secret<32>,
    ticket: Arc<Ticket>,
    office: Office,
    /// Key, root and hash of the token of whoever was taken in.
    device: Option<(PublicKey, Secret<32>, [u8; 32])>,
    /// The relay that its link leads to.
    at: RelayUrl,
    tell: Sender<Told>,
    grip: Arc<Grip>,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime> Keeper<R> {
    /// Serves link after link, as long as there is a relay.
    async fn run(&mut self, url: &RelayUrl, tls: &ClientTls) {
        let sessions = Arc::new(Sessions::new(Duration::from_secs(600)));
        let sought = Seek::host(&route_id(self.route.public()), 0);
        while let Ok((socket, at)) = R::seek(url, tls, sought).await {
            self.at = at;
            let registration = Registration {
                relay: self.at.authority().into(),
                route: self.route.duplicate(),
                capability_key: self.capability_key.duplicate(),
                previous_capability_key: Secret::random(&mut entropy()),
                operator_key: None,
                config: Config::default(),
                sessions: sessions.clone(),
            };
            let ended = serve(socket, &R::Clock::default(), registration, self).await;
            // Where the test is over nobody listens.
            let _ = self.tell.send(Told::Ended(ended));
        }
    }

    fn capability(&self) -> Capability {
        let id = *Secret::random(&mut entropy()).expose();
        Capability::mint(&self.capability_key, &route_id(self.route.public()), id, u32::MAX, 0)
    }
}

impl<R: Runtime> Gate for Keeper<R> {
    /// The ticket that a device pairs with, and its key.
    type Visitor = Option<(TicketId, PublicKey)>;

    fn registered(&mut self, link: Registrar) {
        link.set_pair_slot(rv_hash(&self.ticket.secrets().rendezvous), 60);
        let _ = self.tell.send(Told::Registered(self.at.clone()));
    }

    fn hear(&mut self, now: Instant, channel: &ChannelId, hello: &mut [u8]) -> Result<Knock, handshake::Error> {
        if self.office.id_at(0).is_none() {
            self.office.issue(&self.ticket, now, Duration::from_secs(60)).unwrap();
        }
        let (mac1_key, route) = (host_mac1_key(self.identity.public()), route_id(self.route.public()));
        let door = Door { identity: &self.identity, mac1_key: &mac1_key, route: &route, weakest: self.ticket.suite };
        hear(door, self.office.live(now), channel, hello)
    }

    fn recognise(&mut self, knock: &ConnectKnock) -> Option<(Known, Self::Visitor)> {
        let (_, root, token_hash) = self.device.as_ref().filter(|(key, ..)| key == knock.peer())?;
        Some((Known { psk: Exports::psk(root, knock.suite()), token_hash: *token_hash, guest: None }, None))
    }

    fn pairing(&mut self, now: Instant, knock: &PairKnock) -> Option<Self::Visitor> {
        Some(Some((self.office.knock(knock.ticket(), knock.peer(), now).ok()?, *knock.peer())))
    }

    fn established(&mut self, _: &mut Self::Visitor, session: Session) -> Result<Option<Capability>, u16> {
        if self.grip.revoked.load(Ordering::SeqCst) {
            return Err(code::REVOKED);
        }
        *self.grip.session.lock().unwrap() = Some(session);
        Ok(Some(self.capability()))
    }

    fn pair_requested(&mut self, visitor: &mut Self::Visitor, request: PairRequest, session: Session) {
        let (ticket, key) = visitor.unwrap();
        self.office.commit(ticket, &key, steady::now()).unwrap();
        let token: Secret<40> = Secret::random(&mut entropy());
        self.device = Some((key, request.device_root, token_hash(token.expose())));
        session.welcome(Welcome {
            device_id: [1; 8],
            token,
            route_id: route_id(self.route.public()),
            capability: self.capability(),
            host_name: "test host".into(),
        });
    }

    fn incoming(&mut self, _: &mut Self::Visitor, stream: Stream) {
        let tell = self.tell.clone();
        R::spawn(async move {
            // A stream that breaks is the test's to judge, at its end.
            let _ = answer::<R>(stream, tell).await;
        });
    }

    fn ended(&mut self, _: Self::Visitor) {}
}

async fn answer<R: Runtime>(mut stream: Stream, tell: Sender<Told>) -> io::Result<()> {
    let mut wish = [0];
    stream.read_exact(&mut wish).await?;
    if wish == [Wish::Reset.byte()] {
        stream.abort(Wish::CODE);
    } else if wish == [Wish::Echo.byte()] {
        let (read, write) = R::tunnel(stream).split();
        copy(read, write).await?;
    } else if wish == [Wish::Count.byte()] {
        let _ = tell.send(count::<R>(R::tunnel(stream)).await);
    } else if wish == [Wish::Serve.byte()] {
        let mut port = [0; 2];
        stream.read_exact(&mut port).await?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, u16::from_le_bytes(port)));
        splice(R::connect(address).await?, R::tunnel(stream)).await?;
    }
    Ok(())
}

async fn count<R: Runtime>(mut stream: R::Tunnel) -> Told {
    if stream.write_all(b"done").await.is_err() || stream.close().await.is_err() {
        return Told::Broken(None);
    }
    let (mut part, mut sum) = ([0; 4096], 0);
    loop {
        match stream.read(&mut part).await {
            Ok(0) => return Told::Whole(sum),
            Ok(len) => sum += len,
            Err(error) => return Told::Broken(error.get_ref().and_then(|inner| inner.downcast_ref()).copied()),
        }
    }
}

/// Joins two connections: bytes and half-closes, and an error on either ends both.
pub(crate) async fn splice<A, B>(a: A, b: B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let ((read_a, write_a), (read_b, write_b)) = (a.split(), b.split());
    try_join(copy(read_a, write_b), copy(read_b, write_a)).await.map(drop)
}

async fn copy(from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> io::Result<()> {
    copy_buf(BufReader::with_capacity(32 * 1024, from), &mut to).await?;
    to.close().await
}
