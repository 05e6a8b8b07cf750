//! A paired device that keeps to no rule: it has every key, and seals what it likes.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "shared, and each test file uses its part")]

use core::time::Duration;

use async_tungstenite::tungstenite::Message;
use futures_util::StreamExt;
use homing_core::channel::Config;
use homing_core::crypto::{Identity, PublicKey, Secret};
use homing_core::handshake::{CheckWords, Exports, Failure, HELLO_MAX, Kind, Suite, parse_failure, start};
use homing_core::hop::{Capability, Code, DeviceLink, MAX_CONTROL, Purpose, device};
use homing_core::pairing::{Ticket, parse_link};
use homing_core::session::{Role, Session};
use homing_core::wire::{Auth, Frame, HEADER_LEN, MAX_RECORD, Params, Reader, StreamId, Writer};
use homing_driver::device::{Call, Caller, Intent, Opener, call};
use homing_driver::{Clock, Ended, Paired};
use homing_tokio::{ClientTls, RelayUrl, Socket, TokioClock, dial, endpoint_config};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(30);

pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited too long for {what}"),
    }
}

pub fn entropy() -> getrandom::rand_core::UnwrapErr<getrandom::SysRng> {
    getrandom::rand_core::UnwrapErr(getrandom::SysRng)
}

/// The relay of a ticket.
pub fn relay_of(ticket: &Ticket) -> RelayUrl {
    RelayUrl::from_authority(&ticket.relay, ticket.flags.plain).unwrap()
}

/// Everything that pairing gives.
pub struct Rogue {
    pub relay: RelayUrl,
    pub suite: Suite,
    pub host: PublicKey,
    pub identity: Identity,
    pub root: Secret<32>,
    pub paired: Paired,
    /// The capability for the next call; each has its own limit at the relay.
    pub capability: [u8; 45],
}

struct Ears {
    paired: Option<(Paired, Secret<32>)>,
}

impl Caller for Ears {
    fn established(&mut self, opener: Opener) {
        opener.close();
    }
    fn pending(&mut self, _: CheckWords, _: u16) {}
    fn paired(&mut self, paired: Paired, root: Secret<32>) -> Result<(), String> {
        self.paired = Some((paired, root));
        Ok(())
    }
    fn capability(&mut self, _: &[u8; 45]) {}
}

/// Pairs under a ticket as it is, whatever a proper device would say of it.
pub async fn pair(ticket: &Ticket, name: &str) -> Result<Rogue, Ended> {
    pair_as(ticket, name, Identity::generate(&mut entropy())).await
}

/// The same with a key that may have been used before.
pub async fn pair_as(ticket: &Ticket, name: &str, identity: Identity) -> Result<Rogue, Ended> {
    let relay = relay_of(ticket);
    let secrets = ticket.secrets();
    let intent = Intent::Pair {
        ticket: secrets.handshake,
        rendezvous: Secret::new(secrets.rendezvous),
        platform: 1,
        name: name.into(),
    };
    let spec = Call {
        relay: relay.authority().into(),
        suite: ticket.suite,
        identity: identity.duplicate(),
        host: ticket.host,
        intent,
        config: Config::default(),
    };
    let socket = dial(&relay, &ClientTls::system(), endpoint_config()).await.unwrap();
    let mut ears = Ears { paired: None };
    let ended = soon("the pairing", call(socket, &TokioClock, spec, &mut ears)).await;
    let Some((paired, root)) = ears.paired else { return Err(ended) };
    let capability = *paired.capability.expose();
    Ok(Rogue { relay, suite: ticket.suite, host: ticket.host, identity, root, paired, capability })
}

impl Rogue {
    pub async fn pair(link: &str) -> Self {
        pair(&parse_link(link).unwrap(), "rogue").await.unwrap()
    }

    /// Dials the host; nothing was said to it yet.
    pub async fn dial(&self) -> Result<(Line, [u8; 16]), Code> {
        let socket = dial(&self.relay, &ClientTls::system(), endpoint_config()).await.unwrap();
        let capability = Capability::from_bytes(&self.capability);
        let purpose = Purpose::Dial { route_id: self.paired.route_id, capability };
        let link = DeviceLink::new(self.relay.authority(), purpose, TokioClock.now()).unwrap();
        let mut line = Line { socket, link, session: None };
        match line.event().await {
            Said::Opened(channel) => Ok((line, channel)),
            Said::Over(code) => Err(code.unwrap_or(Code::Gone)),
            Said::Data(_) => panic!("data before the channel"),
        }
    }

    /// Connects, with the handshake and nothing more. A busy host is asked again when it says so.
    pub async fn shake_hands(&self, own: Params) -> Line {
        loop {
            let (mut line, channel) = self.dial().await.unwrap();
            let psk = Exports::psk(&self.root, self.suite);
            let kind = Kind::Connect { route: &self.paired.route_id, psk: &psk };
            let (mut hello, rng) = ([0; HELLO_MAX], &mut entropy());
            let started = start(self.suite, kind, &channel, &self.identity, &self.host, own, rng, &mut hello);
            let (len, wait) = started.unwrap();
            line.send_body(&hello[..len]).await.unwrap();
            let Said::Data(mut reply) = line.event().await else { panic!("no answer to the handshake") };
            if let Ok(Some((Failure::Busy, retry_ms))) = parse_failure(&reply) {
                tokio::time::sleep(Duration::from_millis(retry_ms.into())).await;
                continue;
            }
            let (keys, _) = wait.read(&mut reply).unwrap();
            line.session = Some(Session::new(Role::Device, &keys, TokioClock.now()));
            return line;
        }
    }

    /// Connects and shows the token; takes the fresh capability.
    pub async fn connect(&mut self) -> Line {
        self.connect_with(Params::default()).await
    }

    pub async fn connect_with(&mut self, own: Params) -> Line {
        let mut line = self.shake_hands(own).await;
        line.say(&[self.auth()]).await.unwrap();
        loop {
            let (frames, capability) = line.hear().await.unwrap();
            assert!(!frames.is_empty());
            if let Some(capability) = capability {
                self.capability = capability;
                return line;
            }
        }
    }

    pub fn auth(&self) -> Frame<'_> {
        Frame::Auth(Auth { token: self.paired.token.expose(), resume: None })
    }
}

/// What comes from the relay.
pub enum Said {
    Opened([u8; 16]),
    Data(Vec<u8>),
    Over(Option<Code>),
}

/// A link with its channel.
pub struct Line {
    pub socket: Socket,
    pub link: DeviceLink,
    pub session: Option<Session>,
}

/// A stream's bytes at this offset.
pub fn bytes(id: u32, offset: u64, data: &[u8]) -> Frame<'_> {
    Frame::Stream { id: StreamId(id), offset, fin: false, data }
}

impl Line {
    async fn flush(&mut self) -> bool {
        let mut out = [0; MAX_CONTROL];
        while let Some(len) = self.link.poll_output(TokioClock.now(), &mut out) {
            if self.socket.send(Message::binary(out[..len].to_vec())).await.is_err() {
                return false;
            }
        }
        true
    }

    /// The next thing of note.
    pub async fn event(&mut self) -> Said {
        loop {
            if !self.flush().await {
                return Said::Over(None);
            }
            let message = match soon("the relay", self.socket.next()).await {
                Some(Ok(Message::Binary(message))) => message,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Said::Over(None),
                Some(Ok(_)) => continue,
            };
            let now = TokioClock.now();
            match self.link.handle(now, &message) {
                Ok(Some(device::Event::Opened { channel_id })) => return Said::Opened(channel_id),
                Ok(Some(device::Event::Data { body })) => {
                    let body = body.to_vec();
                    self.link.processed(now, body.len());
                    return Said::Data(body);
                }
                Ok(Some(device::Event::Closed { code })) => return Said::Over(Some(code)),
                Ok(_) => {}
                Err(violation) => panic!("{violation}"),
            }
        }
    }

    /// Sends one message as DATA, waiting for the relay's credit. Data that comes meanwhile is lost to the caller,
    /// though not to the session.
    pub async fn send_body(&mut self, body: &[u8]) -> Result<(), Option<u16>> {
        loop {
            if let Some(header) = self.link.data_header(body.len()) {
                let sent = self.socket.send(Message::binary([&header[..], body].concat())).await;
                return sent.map_err(|_| None);
            }
            if let Some(code) = self.pass_time().await? {
                return Err(Some(code));
            }
        }
    }

    /// Hears whatever comes next and looks only for a CLOSE.
    async fn pass_time(&mut self) -> Result<Option<u16>, Option<u16>> {
        if !self.flush().await {
            return Err(None);
        }
        match soon("credit", self.socket.next()).await {
            Some(Ok(Message::Binary(message))) => {
                let now = TokioClock.now();
                match self.link.handle(now, &message).unwrap() {
                    Some(device::Event::Data { body }) => {
                        let mut body = body.to_vec();
                        self.link.processed(now, body.len());
                        Ok(self.close_code(&mut body))
                    }
                    Some(device::Event::Closed { .. }) => Err(None),
                    _ => Ok(None),
                }
            }
            Some(Ok(Message::Close(_)) | Err(_)) | None => Err(None),
            Some(Ok(_)) => Ok(None),
        }
    }

    fn close_code(&mut self, record: &mut [u8]) -> Option<u16> {
        let text = self.session.as_mut()?.open(TokioClock.now(), record).unwrap();
        let mut reader = Reader::new(text);
        while let Some(frame) = Frame::parse(&mut reader).unwrap() {
            if let Frame::Close(close) = frame {
                return Some(close.code);
            }
        }
        None
    }

    /// Seals these frames into one record.
    ///
    /// # Errors
    /// The host's CLOSE code, or none where the link ended without.
    pub async fn say(&mut self, frames: &[Frame<'_>]) -> Result<(), Option<u16>> {
        let mut text = vec![0; MAX_RECORD];
        let mut writer = Writer::new(&mut text);
        for frame in frames {
            frame.emit(&mut writer).unwrap();
        }
        let len = writer.len();
        self.say_raw(&text[..len]).await
    }

    /// Seals this text into one record.
    ///
    /// # Errors
    /// As [`say`](Self::say).
    pub async fn say_raw(&mut self, text: &[u8]) -> Result<(), Option<u16>> {
        let mut record = vec![0; MAX_RECORD];
        record[HEADER_LEN..HEADER_LEN + text.len()].copy_from_slice(text);
        let session = self.session.as_mut().unwrap();
        let len = session.seal(TokioClock.now(), &mut record, text.len()).unwrap();
        record.truncate(len);
        self.send_body(&record).await
    }

    /// The frames of the next record, as text, and the capability among them.
    ///
    /// # Errors
    /// The host's CLOSE code, or none where the link ended without.
    pub async fn hear(&mut self) -> Result<(Vec<String>, Option<[u8; 45]>), Option<u16>> {
        match self.event().await {
            Said::Data(mut record) => {
                let text = self.session.as_mut().unwrap().open(TokioClock.now(), &mut record).unwrap();
                let (mut frames, mut capability) = (Vec::new(), None);
                let mut reader = Reader::new(text);
                while let Some(frame) = Frame::parse(&mut reader).unwrap() {
                    match frame {
                        Frame::Close(close) => return Err(Some(close.code)),
                        Frame::Cap(bytes) => capability = Some(*bytes),
                        _ => {}
                    }
                    frames.push(format!("{frame:?}"));
                }
                Ok((frames, capability))
            }
            Said::Over(_) => Err(None),
            Said::Opened(_) => panic!("opened twice"),
        }
    }

    /// The code with which the host closes.
    pub async fn closed(&mut self) -> Option<u16> {
        loop {
            if let Err(code) = self.hear().await {
                return code;
            }
        }
    }
}
