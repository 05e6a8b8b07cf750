//! Tickets: what a QR code holds, its text form, and its single use and expiry as a state
//! machine (protocol 5). No drawing, no storage.

mod base32;
mod link;
mod office;
mod relay_name;
mod ticket;

pub use link::{LINK_MAX, LinkError, parse_link};
pub use office::{Commit, MAX_HANDSHAKES, MAX_TICKETS, Office, Refused, TICKET_LIFE, TicketId, TicketState};
pub use relay_name::RelayName;
pub use ticket::{BODY_MAX, CHECK_LEN, Flags, RELAY_MAX, Secrets, Ticket, TicketError};
