//! Tickets: what a QR code holds, its text form, and its single use and expiry as a state
//! machine (protocol 5); and the links by which devices pass on what they may reach (protocol 11.4).
//! No drawing, no storage.

mod base32;
mod guest;
mod link;
mod office;
mod relay_name;
mod ticket;

pub use guest::{GUEST_LINK_MAX, GUEST_MAX, GUEST_RELAYS, GuestPass, is_guest_link, parse_guest_link};
pub use link::{LINK_MAX, LinkError, parse_link};
pub use office::{Commit, MAX_HANDSHAKES, MAX_TICKETS, Office, Refused, TICKET_LIFE, TicketId, TicketState};
pub use relay_name::RelayName;
pub use ticket::{BODY_MAX, CHECK_LEN, Flags, RELAY_MAX, Secrets, Ticket, TicketError};
