//! How does a record reach a syslog? As a message of RFC 5424, facility *log audit* (13), severity *informational* (6).
//!
//! ```text
//! <110>1 TIME - idhini PROCESS audit - RECORD
//! ```
//! Over a datagram socket one message is one datagram; over TCP each begins with its length (RFC 6587, octet counting).

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::options::SyslogAddress;
use crate::outlet::Take;

/// Facility 13, severity 6.
const PRIORITY: u32 = 13 * 8 + 6;
/// A connection that does not come about in this time is none.
const CONNECT_MAX: Duration = Duration::from_secs(1);

/// A connection to one.
#[derive(Debug)]
pub(crate) enum Syslog {
    Unix(UnixDatagram),
    Tcp(TcpStream),
    Udp(UdpSocket),
}

impl Syslog {
    pub(crate) fn connect(address: &SyslogAddress) -> io::Result<Syslog> {
        match address {
            SyslogAddress::Unix(path) => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(path)?;
                Ok(Syslog::Unix(socket))
            }
            SyslogAddress::Tcp(address) => {
                let stream = TcpStream::connect_timeout(address, CONNECT_MAX)?;
                stream.set_nodelay(true)?;
                Ok(Syslog::Tcp(stream))
            }
            SyslogAddress::Udp(address) => {
                let here: SocketAddr = match address {
                    SocketAddr::V4(_) => (Ipv4Addr::LOCALHOST, 0).into(),
                    SocketAddr::V6(_) => (Ipv6Addr::LOCALHOST, 0).into(),
                };
                let socket = UdpSocket::bind(here)?;
                socket.connect(address)?;
                Ok(Syslog::Udp(socket))
            }
        }
    }
}

/// A line as a message; its time is that of the record, which is in it.
pub(crate) fn message(line: &[u8]) -> Vec<u8> {
    let mut message = format!("<{PRIORITY}>1 - - idhini {} audit - ", std::process::id()).into_bytes();
    message.extend(line);
    message
}

impl Take for Syslog {
    fn take(&mut self, lines: &[u8]) -> io::Result<()> {
        let messages = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(message);
        match self {
            Syslog::Unix(socket) => {
                messages.into_iter().try_for_each(|message| whole(socket.send(&message)?, &message))
            }
            Syslog::Udp(socket) => {
                messages.into_iter().try_for_each(|message| whole(socket.send(&message)?, &message))
            }
            Syslog::Tcp(stream) => {
                let mut bytes = Vec::new();
                for message in messages {
                    bytes.extend(format!("{} ", message.len()).into_bytes());
                    bytes.extend(message);
                }
                stream.write_all(&bytes)
            }
        }
    }
}

fn whole(sent: usize, message: &[u8]) -> io::Result<()> {
    if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}
